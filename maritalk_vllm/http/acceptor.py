"""New connections: no more than there is room for, and never a failure where the system has no more to give."""

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

_AGAIN_SECONDS = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_EXHAUSTED_SECONDS = 1.0
_SAY_AGAIN_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Acceptor:
    """Takes connections from a listening socket, in place of asyncio's `Server`.

    That one takes all that come and, without a descriptor for the next, logs thousands of errors a second. This one
    makes room, or stops accepting for a moment: the others wait in the kernel's queue.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], Any],
        connections: Connections,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`protocol` makes one for each connection, which calls `left` of `connections` when it is lost."""
        self._listener = listener
        self._protocol = protocol
        self._connections = connections
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._said = -_SAY_AGAIN_SECONDS
        self._is_open = True
        self._beginning: set[asyncio.Task[None]] = set()
        listener.setblocking(False)
        connections.on_left = self._resume
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Accept no more. Connections that were accepted go on."""
        if self._is_open:
            self._pause()
            self._is_open = False
            self._listener.close()

    async def wait_closed(self) -> None:
        """Give up connections that have not begun yet, such as TLS handshakes."""
        for task in self._beginning:
            task.cancel()

    def _accept(self) -> None:
        """Take one; if more wait, this is called again."""
        if self._connections.room <= 0:
            self._connections.make_room()
            self._pause(_AGAIN_SECONDS)
            return
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            self._say(error)
            self._connections.make_room()
            self._pause(_EXHAUSTED_SECONDS)
            return
        self._connections.count += 1
        task = self._loop.create_task(self._begin(connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        protocol = self._protocol()
        try:
            # Some clients speak no TLS, or nothing at all.
            with contextlib.suppress(OSError):
                if self._context is None:
                    await self._loop.connect_accepted_socket(lambda: protocol, connection)
                else:
                    await self._shake_hands(protocol, connection, self._context)
        finally:
            if protocol.transport is None:
                self._connections.left()

    async def _shake_hands(self, protocol: Any, connection: socket.socket, context: ssl.SSLContext) -> None:  # noqa: ANN401
        beginning = _Beginning(connection)
        self._connections.waits_for_request(beginning)
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=context, ssl_handshake_timeout=float(client_limits.HEADER_SECONDS)
            )
        finally:
            self._connections.works(beginning)

    def _pause(self, seconds: float | None = None) -> None:
        """Accept none for so many seconds, or until one has left."""
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

    def _say(self, error: OSError) -> None:
        if time.monotonic() - self._said >= _SAY_AGAIN_SECONDS:
            self._said = time.monotonic()
            _log.warning("No more connections can be accepted for now: %s.", error.strerror)


class _Beginning:
    """A connection by TLS, until the handshake is done and its protocol has it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @property
    def held_bytes(self) -> int:
        """Nothing yet."""
        return 0

    def give_up(self) -> None:
        """Its handshake fails of it."""
        with contextlib.suppress(OSError):  # gone already
            self._connection.shutdown(socket.SHUT_RDWR)
