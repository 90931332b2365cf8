"""The process that serves: its socket, its certificate and its signals."""

import asyncio
import signal
import socket
from functools import partial
from pathlib import Path

import uvicorn

from ..server.certificate import Certificate, Identity
from ..server.listener import listen, url
from ..server.watched import Watched
from ..server.web import WebServer
from ..server.web import config as web_config
from ..translation import translated
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
    renewed = None
    if certificate is not None and private_key is not None:
        read = partial(Certificate.read, certificate, private_key)
        renewed = Watched((certificate, private_key), read, read())
    identity = None if renewed is None else Identity(renewed.value)
    with Database(file) as database, listen(host, port) as listener:
        # It writes no access log: the audit has more, and without the signatures. A download needs a file too.
        config = web_config(
            create_app(database, public_url=public_url, link_seconds=link_seconds),
            identity,
            descriptors_each=2,
            lifespan="off",
        )
        address = url(listener, "https" if certificate else "http")
        print(translated(f"Licence service on {address}, database {file}"), flush=True)
        asyncio.run(_until_told(WebServer(config), listener, renewed, identity))


async def _until_told(
    server: uvicorn.Server, listener: socket.socket, renewed: Watched[Certificate] | None, identity: Identity | None
) -> None:
    loop = asyncio.get_running_loop()

    def look() -> None:
        if renewed is not None and identity is not None and renewed.look():
            identity.take(renewed.value)
        loop.call_later(RENEW_SECONDS, look)

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
