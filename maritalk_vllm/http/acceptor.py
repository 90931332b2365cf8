"""Accepting connections: up to a limit, and without failing when the system runs out of descriptors or memory."""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from . import client_limits
from .connections import Connections

_RETRY_SECONDS = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_EXHAUSTED_SECONDS = 1.0
_WARNING_INTERVAL_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Acceptor:
    """Accepts connections from a listening socket, in place of asyncio's `Server`.

    asyncio's accepts every connection and, when out of descriptors, logs thousands of errors per second. This one
    closes waiting connections to make room, or pauses accepting: new connections then wait in the kernel's queue.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], Any],
        connections: Connections,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`protocol` creates the protocol of a connection, which calls `connections.connection_closed` at its end."""
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._warned_at = -_WARNING_INTERVAL_SECONDS
        self._is_open = True
        self._establishing: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        connections.on_closed = self._resume
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Stop accepting. Accepted connections stay open."""
        if self._is_open:
            self._pause()
            self._is_open = False
            self._listener.close()

    async def wait_closed(self) -> None:
        """Cancel connections that are not established yet, such as TLS handshakes."""
        for task in self._establishing:
            task.cancel()

    def _accept(self) -> None:
        """Accept one connection. The event loop calls this again while more are waiting."""
        if self._connections.room <= 0:
            self._connections.make_room()
            self._pause(_RETRY_SECONDS)
            return
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self._warn(error)
            self._connections.make_room()
            self._pause(_EXHAUSTED_SECONDS)
            return
        self._connections.count += 1
        task = self._loop.create_task(self._establish(connection))
        self._establishing.add(task)
        task.add_done_callback(self._establishing.discard)

    async def _establish(self, connection: socket.socket) -> None:
        protocol = self._protocol()
        try:
            # A TLS handshake fails if the client does not speak TLS, or sends nothing.
            with contextlib.suppress(OSError):
                if self._context is None:
                    await self._loop.connect_accepted_socket(lambda: protocol, connection)
                else:
                    await self._handshake(protocol, connection, self._context)
        finally:
            if protocol.transport is None:
                self._connections.connection_closed()

    async def _handshake(self, protocol: Any, connection: socket.socket, context: ssl.SSLContext) -> None:  # noqa: ANN401
        handshake = _PendingHandshake(connection)
        self._connections.mark_awaiting_request(handshake)
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=context, ssl_handshake_timeout=float(client_limits.HEADER_SECONDS)
            )
        finally:
            self._connections.mark_busy(handshake)

    def _pause(self, seconds: float | None = None) -> None:
        """Stop accepting for `seconds`, or until a connection closes."""
        if not self._is_open:
            return
        self._loop.remove_reader(self._listener)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self._timer is not None and self._is_open:
            self._timer.cancel()
            self._timer = None
            self._loop.add_reader(self._listener, self._accept)

    def _warn(self, error: OSError) -> None:
        if time.monotonic() - self._warned_at >= _WARNING_INTERVAL_SECONDS:
            self._warned_at = time.monotonic()
            _log.warning("No more connections can be accepted for now: %s.", error.strerror)


class _PendingHandshake:
    """A TLS connection whose handshake is not complete, so that it has no protocol yet."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @property
    def buffered_bytes(self) -> int:
        """Always 0: no request data is buffered before the handshake."""
        return 0

    def abort(self) -> None:
        """Shut the socket down, which makes the handshake fail."""
        with contextlib.suppress(OSError):  # already disconnected
            self._connection.shutdown(socket.SHUT_RDWR)
