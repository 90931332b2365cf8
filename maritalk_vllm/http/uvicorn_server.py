"""uvicorn, as each of our processes runs it."""

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
    """A server on sockets that it is given, which leaves the signals to the process that runs it."""

    server_state: Connections

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = Connections(config.limit_concurrency or math.inf)
        self.servers: list[Any] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with acceptors of our own."""
        await super().startup([])
        self.servers = [Acceptor(each, self._protocol, self.server_state, self.config.ssl) for each in sockets or []]

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @property
    def _connections(self) -> list[TransferableProtocol]:
        return [each for each in self.server_state.connections if isinstance(each, TransferableProtocol)]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def config(
    app: Any,  # noqa: ANN401
    identity: Identity | None = None,
    *,
    descriptors_each: int = 1,
    **options: Any,  # noqa: ANN401
) -> uvicorn.Config:
    """For every port that we listen on: slow clients are not waited for, and no more are taken than there is room for.

    `identity`: the certificate that clients are shown, by HTTPS then. `descriptors_each`: what a request needs, its
    connection included.
    """
    made = uvicorn.Config(
        app,
        http=TransferableProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        limit_concurrency=resource_limits.connections(resource_limits.raise_descriptors(), descriptors_each),
        **options,
    )
    if identity is not None:
        # uvicorn makes a context of files alone, and keeps it for good.
        made.load()
        made.ssl = identity.context
    return made
