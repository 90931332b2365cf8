"""Options of the commands that are clients of a running server: its address, the API key, and trusted certificates."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..settings import OPTIONS, environment_variable
from . import path_options

if TYPE_CHECKING:
    from ..tools.server_address import ServerAddress

_KEY = environment_variable("api_key")

URL = Annotated[str, typer.Option(help="The server.", metavar="URL", envvar=environment_variable("url"))]
DEFAULT_URL = f"http://localhost:{OPTIONS['port'].default}"

KEY = Annotated[str | None, typer.Option(help="The server's API key." + f"  [env var: {_KEY}]", metavar="KEY")]

CA_CERTIFICATES = Annotated[
    Path | None,
    typer.Option(
        help="Certificates to trust for HTTPS, instead of the usual ones (PEM).",
        metavar="FILE",
        callback=path_options.checked,
    ),
]


def server_address(url: str, key: str | None, ca_file: Path | None) -> "ServerAddress":
    """The address that these options give; without a key, the first of the server's own variable."""
    from ..tools.server_address import ServerAddress

    # The server's variable may hold several keys, separated by spaces.
    key = key or next(iter(os.environ.get(_KEY, "").split()), None)
    return ServerAddress(url=url.rstrip("/"), key=key, ca_file=ca_file)
