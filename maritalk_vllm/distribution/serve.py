"""The process that serves: its socket, its certificate and its signals."""

import asyncio
import signal
import socket
from pathlib import Path

import uvicorn

from ..errors import UsageError
from ..server.limits import raise_descriptors
from ..server.listener import listen, url
from ..server.protocol import PatientProtocol
from ..server.web import WebServer
from ..translation import translated
from .app import create_app
from .database import Database

STOP_SECONDS = 2
"""So long may a download go on after the order to stop; it can be resumed."""


def serve(
    file: Path,
    *,
    host: str,
    port: int,
    public_url: str | None,
    link_seconds: int,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> None:
    """Serve the database `file` until SIGTERM or SIGINT. Raises PortError, and UsageError for the files."""
    raise_descriptors()
    with Database(file) as database, listen(host, port) as listener:
        config = uvicorn.Config(
            create_app(database, public_url=public_url, link_seconds=link_seconds),
            http=PatientProtocol,
            lifespan="off",
            ws="none",
            log_config=None,
            # The audit has more, and without the signatures.
            access_log=False,
            ssl_certfile=certificate,
            ssl_keyfile=private_key,
        )
        try:
            config.load()
        except OSError as error:
            raise UsageError(
                f"The certificate cannot be used: {error}.", "Check --ssl-certfile and --ssl-keyfile."
            ) from error
        address = url(listener, "https" if certificate else "http")
        print(translated(f"Licence service on {address}, database {file}"), flush=True)
        asyncio.run(_until_told(WebServer(config), listener))


async def _until_told(server: uvicorn.Server, listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.should_exit = True
        loop.call_later(STOP_SECONDS, cut)

    def cut() -> None:
        # uvicorn's own limit would write a traceback for each download.
        for connection in server.server_state.connections:
            connection.transport.abort()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await server.serve(sockets=[listener])
