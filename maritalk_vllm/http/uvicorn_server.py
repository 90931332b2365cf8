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
        self._has_started = asyncio.Event()
        self._adoptions: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, with `Acceptor` in place of asyncio's servers."""
        await super().startup([])
        self.servers = [Acceptor(each, self._protocol, self.server_state, self.config.ssl) for each in sockets or []]
        self._has_started.set()

    def adopt(self, connection: socket.socket, read: bytes, *, is_used: bool) -> None:
        """Take over a connection that another process accepted; `read` is what it read of the current request.

        `is_used`: whether the connection has carried an earlier request.
        """
        task = asyncio.get_running_loop().create_task(self._adopt(connection, read, is_used=is_used))
        self._adoptions.add(task)
        task.add_done_callback(self._adoptions.discard)

    async def _adopt(self, connection: socket.socket, read: bytes, *, is_used: bool) -> None:
        await self._has_started.wait()
        protocol: Any = self._protocol(already_read=read, is_used=is_used)
        self.server_state.count += 1
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, connection)
        except OSError:  # the client disconnected
            connection.close()
        finally:
            if protocol.transport is None:
                self.server_state.connection_closed()

    def _protocol(self, **options: Any) -> asyncio.Protocol:  # noqa: ANN401
        protocol_class: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, **options
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
