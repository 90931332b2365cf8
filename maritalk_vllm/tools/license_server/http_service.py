"""The serving process of the licence service: socket, certificate and signals."""

import asyncio
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import uvicorn

from ...errors import UsageError
from ...hardware import resource_limits
from ...http.certificate import Certificate, Identity
from ...http.listener import listen, url
from ...http.uvicorn_server import WebServer
from ...http.uvicorn_server import config as web_config
from ...i18n.rendering import localized, say
from ...server.process.watched_file import WatchedFile
from ...stop_signals import StopSignals
from .app import create_app
from .database import Database

RENEW_SECONDS = 10.0
"""Interval between checks for a renewed certificate, which has to be unchanged in two of them."""

STOP_SECONDS = 2
"""How long downloads may continue after a stop signal; they can be resumed."""


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
    signals = StopSignals()
    resource_limits.raise_descriptors()
    with Database(file) as database, listen(host, port) as listener:
        # No access log: the audit log has more, and without signatures. A download needs a second descriptor.
        config = web_config(
            create_app(database, public_url=public_url, link_seconds=link_seconds),
            renewal.identity if renewal is not None else None,
            descriptors_each=2,
            lifespan="off",
        )
        address = url(listener, "https" if certificate else "http")
        print(say("Licence service on {address}, database {file}", address=address, file=file), flush=True)
        asyncio.run(_until_stopped(WebServer(config), listener, renewal, signals))


class Renewal:
    """Keeps the certificate in step with its files, and the last usable one if they become invalid."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Raises UsageError for files that cannot be used."""
        read = partial(Certificate.read, certificate, private_key)
        self._files = WatchedFile((certificate, private_key), read, read())
        self._problem = ""
        self.identity = Identity(self._files.value)

    def check(self) -> None:
        """Take over a renewed certificate; print once why it cannot be used."""
        self._files.poll()
        problem = self._files.problem
        try:
            self.identity.update(self._files.value)
        except UsageError as error:
            problem = error.message
        if problem and problem != self._problem:
            fallback = "The certificate that was read before stays in use."
            print(f"{localized(problem)} {localized(fallback)}", file=sys.stderr, flush=True)
        self._problem = problem


async def _until_stopped(
    server: uvicorn.Server, listener: socket.socket, renewal: Renewal | None, signals: StopSignals
) -> None:
    loop = asyncio.get_running_loop()

    def check_certificate() -> None:
        loop.call_later(RENEW_SECONDS, check_certificate)
        if renewal is not None:
            renewal.check()

    def stop(number: signal.Signals) -> None:
        server.should_exit = True
        loop.call_later(STOP_SECONDS, abort_connections)

    def abort_connections() -> None:
        # uvicorn's own shutdown timeout would log a traceback for each download.
        for connection in server.server_state.connections:
            connection.transport.abort()

    signals.handle(stop)
    check_certificate()
    await server.serve(sockets=[listener])
