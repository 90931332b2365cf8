"""uvicorn, as each of our processes runs it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from . import limits
from .protocol import PatientProtocol

RENEW_SECONDS = 10.0
"""How soon a renewed certificate is seen."""


class WebServer(uvicorn.Server):
    """A server on a socket that it is given, which leaves the signals to the process that runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and take over a certificate that is renewed."""
        renewing = asyncio.create_task(_renew(self.config)) if self.config.is_ssl else None
        try:
            await super().serve(sockets)
        finally:
            if renewing is not None:
                renewing.cancel()


async def _renew(config: uvicorn.Config) -> None:
    """Look at the certificate's files now and then. Connections that are made afterwards get what is there."""
    files = [str(config.ssl_certfile), str(config.ssl_keyfile)]
    known = _times(files)
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        now = _times(files)
        if now is None or now == known or config.ssl is None:
            continue
        try:
            config.ssl.load_cert_chain(*files)
        except OSError as error:  # half written: the old one serves on
            logging.getLogger(__name__).warning("The renewed certificate cannot be used: %s", error)
        else:
            known = now


def _times(files: list[str]) -> list[int] | None:
    try:
        return [Path(file).stat().st_mtime_ns for file in files]
    except OSError:
        return None


def config(app: Any, **options: Any) -> uvicorn.Config:  # noqa: ANN401
    """For connections of all kinds: slow ones are closed, and no more are taken than there are descriptors for."""
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        limit_concurrency=limits.connections(limits.raise_descriptors()),
        **options,
    )
