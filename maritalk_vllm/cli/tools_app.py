"""`maritalk-vllm`: the command line tools beside the server."""

import typer

from . import lang_option
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
from .runner import HELP, run

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, context_settings=HELP)


@app.callback()
def toolbox(lang: lang_option.OPTION = None) -> None:
    """Tools around maritalk-serve."""


app.command(name="chat")(chat)
app.command(name="models")(models)
app.command(name="plan")(plan)
app.command(name="doctor")(doctor)
app.command(name="health")(health)
app.command(name="download")(download)
app.command(name="bench")(bench)
app.command(name="install-launcher")(install_launcher)
app.add_typer(config, name="config")
app.add_typer(license, name="license")


def main() -> None:
    """The console script."""
    run(app, "maritalk-vllm")
