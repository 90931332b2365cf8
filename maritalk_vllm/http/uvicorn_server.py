"""The uvicorn server and configuration that all our processes use."""

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from ..hardware import resource_limits
from .acceptor import Acceptor
from .certificate import Identity
from .connection_transfer import TransferableProtocol
from .connections import Connections


class WebServer(uvicorn.Server):
    """A uvicorn server on given sockets, which leaves signal handling to its process."""

    server_state: Connections

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = Connections(config.limit_concurrency or math.inf)
        self.servers: list[Any] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, with `Acceptor` in place of asyncio's servers."""
        await super().startup([])
        self.servers = [Acceptor(each, self._protocol, self.server_state, self.config.ssl) for each in sockets or []]

    def _protocol(self) -> asyncio.Protocol:
        protocol_class: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @property
    def _connections(self) -> list[TransferableProtocol]:
        return [each for each in self.server_state.connections if isinstance(each, TransferableProtocol)]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture no signals."""
        yield


def config(
    app: Any,  # noqa: ANN401
    identity: Identity | None = None,
    *,
    descriptors_each: int = 1,
    **options: Any,  # noqa: ANN401
) -> uvicorn.Config:
    """Create the uvicorn configuration for any of our ports, with timeouts for clients and a limit on connections.

    The limit follows from that on open files, which the process raises beforehand (`resource_limits`).

    `identity`: the certificate to serve HTTPS with, None for HTTP. `descriptors_each`: file descriptors that a request
    needs, its connection included.
    """
    web_config = uvicorn.Config(
        app,
        http=TransferableProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        limit_concurrency=resource_limits.connections(resource_limits.current_descriptors(), descriptors_each),
        **options,
    )
    if identity is not None:
        # uvicorn creates its context only from files, and never replaces it.
        web_config.load()
        web_config.ssl = identity.context
    return web_config
