"""`maritalk-vllm`: the command line tools, and the server under one name with them."""

import sys
from typing import Annotated

import typer

from . import lang_option
from .batch import app as batch
from .bench import bench
from .chat import chat
from .config import app as config
from .doctor import command as doctor
from .download import command as download
from .health import command as health
from .install_launcher import install_launcher
from .license import app as license
from .models import models
from .plan import command as plan
from .reload import command as reload
from .runner import HELP, run

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, context_settings=HELP)


def _show_versions(asked: bool) -> None:
    if asked:
        from .versions import versions

        print("\n".join(versions()))
        raise typer.Exit


@app.callback()
def toolbox(
    lang: lang_option.OPTION = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            help="Show the versions of this program, vLLM, PyTorch and CUDA, and exit.",
            is_eager=True,
            callback=_show_versions,
        ),
    ] = False,
) -> None:
    """Tools around maritalk-serve."""


def help(ctx: typer.Context, command: Annotated[list[str] | None, typer.Argument(show_default=False)] = None) -> None:
    """Show the help of a command."""
    assert ctx.parent is not None
    ctx.parent.command.main([*(command or ()), "--help"], prog_name=ctx.parent.info_name, standalone_mode=False)


def serve() -> None:
    """Run the server, like maritalk-serve."""
    from .serve import main

    # As typed: the parser of this command has dropped a `--`, and a reload reads sys.argv again.
    sys.argv.remove("serve")
    main()


app.command(
    name="serve",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(serve)
app.command(name="models")(models)
app.command(name="chat")(chat)
app.command(name="plan")(plan)
app.command(name="doctor")(doctor)
app.command(name="health")(health)
app.command(name="reload")(reload)
app.command(name="download")(download)
app.command(name="bench")(bench)
app.add_typer(batch, name="batch")
app.command(name="install-launcher")(install_launcher)
app.add_typer(config, name="config")
app.add_typer(license, name="license")
app.command(name="help")(help)


def main() -> None:
    """The console script."""
    run(app, "maritalk-vllm")
