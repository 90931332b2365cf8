"""`maritalk-vllm chat`: chat with a running server in the terminal."""

from typing import Annotated

import setproctitle
import typer

from .server_options import CA_CERTIFICATES, DEFAULT_URL, KEY, URL, server_address


def chat(
    url: URL = DEFAULT_URL,
    api_key: KEY = None,
    system: Annotated[str, typer.Option(help="System message for the model.", metavar="TEXT", show_default=False)] = "",
    parameters: Annotated[
        str,
        typer.Option(
            help="Sampling parameters, such as 'temperature=0 max_tokens=50'.", metavar="TEXT", show_default=False
        ),
    ] = "",
    cacert: CA_CERTIFICATES = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take all of the input as one question, instead of a question a line.")
    ] = False,
) -> None:
    """Chat with a server that is running.

    From a pipe, each line is a question, and stdout has the answers alone. Exit code 1: a question was not answered.
    """
    from ..tools.chat.chat_runner import run

    setproctitle.setproctitle("maritalk-vllm chat")
    address = server_address(url, api_key, cacert)
    if not run(address, system=system, parameters=parameters, single_question=whole):
        raise typer.Exit(1)
