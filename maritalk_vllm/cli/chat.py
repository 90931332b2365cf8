"""`maritalk-vllm chat`: chat with a running server in the terminal."""

import os
from pathlib import Path
from typing import Annotated

import setproctitle
import typer

from ..settings import OPTIONS, environment_variable
from . import path_options

_KEY = environment_variable("api_key")


def chat(
    url: Annotated[
        str, typer.Option(help="The server.", metavar="URL", envvar=environment_variable("url"))
    ] = f"http://localhost:{OPTIONS['port'].default}",
    api_key: Annotated[
        str | None, typer.Option(help="The server's API key." + f"  [env var: {_KEY}]", metavar="KEY")
    ] = None,
    system: Annotated[str, typer.Option(help="System message for the model.", metavar="TEXT", show_default=False)] = "",
    cacert: Annotated[
        Path | None,
        typer.Option(
            help="Certificates to trust for HTTPS, instead of the usual ones (PEM).",
            metavar="FILE",
            callback=path_options.checked,
        ),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take all of the input as one question, instead of a question a line.")
    ] = False,
) -> None:
    """Chat with a server that is running.

    From a pipe, each line is a question, and stdout has the answers alone. Exit code 1: a question was not answered.
    """
    from ..tools.chat.chat_runner import run
    from ..tools.chat.server_address import ServerAddress

    setproctitle.setproctitle("maritalk-vllm chat")
    # The server's variable may hold several keys, separated by spaces.
    key = api_key or next(iter(os.environ.get(_KEY, "").split()), None)
    if not run(ServerAddress(url=url.rstrip("/"), key=key, ca_file=cacert), system=system, single_question=whole):
        raise typer.Exit(1)
