"""The process that serves: its socket, its certificate and its signals."""

import asyncio
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import uvicorn

from ...errors import UsageError
from ...http.certificate import Certificate, Identity
from ...http.listener import listen, url
from ...http.uvicorn_server import WebServer
from ...http.uvicorn_server import config as web_config
from ...server.process.watched_file import WatchedFile
from ...translation import translated
from .app import create_app
from .database import Database

RENEW_SECONDS = 10.0
"""How soon a renewed certificate is seen: it has to be the same at two looks."""

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
    renewal = Renewal(certificate, private_key) if certificate is not None and private_key is not None else None
    with Database(file) as database, listen(host, port) as listener:
        # It writes no access log: the audit has more, and without the signatures. A download needs a file too.
        config = web_config(
            create_app(database, public_url=public_url, link_seconds=link_seconds),
            renewal.identity if renewal is not None else None,
            descriptors_each=2,
            lifespan="off",
        )
        address = url(listener, "https" if certificate else "http")
        print(translated(f"Licence service on {address}, database {file}"), flush=True)
        asyncio.run(_until_stopped(WebServer(config), listener, renewal))


class Renewal:
    """The certificate that is shown, as its files are now: the last one that could be used."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Raises UsageError for files that cannot be used."""
        read = partial(Certificate.read, certificate, private_key)
        self._files = WatchedFile((certificate, private_key), read, read())
        self._trouble = ""
        self.identity = Identity(self._files.value)

    def look(self) -> None:
        """Take over what is new, and print why it cannot be used, once."""
        self._files.poll()
        trouble = self._files.problem
        try:
            self.identity.update(self._files.value)
        except UsageError as error:
            trouble = error.message
        if trouble and trouble != self._trouble:
            kept = "The certificate that was read before stays in use."
            print(f"{translated(trouble)} {translated(kept)}", file=sys.stderr, flush=True)
        self._trouble = trouble


async def _until_stopped(server: uvicorn.Server, listener: socket.socket, renewal: Renewal | None) -> None:
    loop = asyncio.get_running_loop()

    def look() -> None:
        loop.call_later(RENEW_SECONDS, look)
        if renewal is not None:
            renewal.look()

    def stop() -> None:
        server.should_exit = True
        loop.call_later(STOP_SECONDS, cut)

    def cut() -> None:
        # uvicorn's own limit would write a traceback for each download.
        for connection in server.server_state.connections:
            connection.transport.abort()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    look()
    await server.serve(sockets=[listener])
