"""The open connections of one server, and which of them to abort when there are too many."""

import math
import time
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from uvicorn.server import ServerState

from . import client_limits

_MAX_EVICTED = 32
_EVICTED_FRACTION = 8
"""At most one in this many waiting connections is aborted at once."""

_GRACE_SECONDS = 0.1
"""Minimum wait before a connection can be aborted: data that its client has sent may not have been read yet."""


class Connection(Protocol):
    """A connection that can be aborted."""

    @property
    def buffered_bytes(self) -> int:
        """Number of received bytes that are buffered."""

    def abort(self) -> None:
        """Close immediately; `Connections.connection_closed` is called afterwards."""


class Connections(ServerState):
    """uvicorn's server state, with the order in which connections are aborted to make room.

    Only connections that wait for their client are aborted: first those without a request, the longest waiting first,
    then those whose body is incomplete. A connection whose request is being answered is never aborted to make room.

    The bytes buffered of incomplete requests have a total limit too. Above it, connections with many buffered bytes
    that have waited longest are aborted, even if a previous request on them is being answered.
    """

    def __init__(self, limit: float = math.inf) -> None:
        super().__init__()
        self.limit = limit
        self.count = 0
        self.on_closed: Callable[[], None] | None = None
        self._awaiting_request: dict[Connection, float] = {}
        self._awaiting_body: dict[Connection, float] = {}
        self._buffered: dict[Connection, int] = {}
        self.buffered_bytes = 0

    @property
    def room(self) -> float:
        """How many more connections can be accepted."""
        return self.limit - self.count

    @property
    def has_pending(self) -> bool:
        """Whether an accepted connection is not established yet, such as during a TLS handshake."""
        return self.count > len(self.connections)

    def connection_closed(self) -> None:
        """Count one connection less."""
        self.count -= 1
        if self.on_closed is not None:
            self.on_closed()

    def mark_awaiting_request(self, connection: Connection) -> None:
        """Record that a connection has no request, or only one that was answered before it was complete."""
        self._awaiting_body.pop(connection, None)
        self._awaiting_request.setdefault(connection, time.monotonic())

    def mark_awaiting_body(self, connection: Connection) -> None:
        """Record that a connection has received the head of a request."""
        self._awaiting_request.pop(connection, None)
        self._awaiting_body.setdefault(connection, time.monotonic())

    def mark_busy(self, connection: Connection) -> None:
        """Record that a connection has a complete request, or is closed: it cannot be aborted to make room."""
        self._awaiting_request.pop(connection, None)
        self._awaiting_body.pop(connection, None)

    def set_buffered(self, connection: Connection, size: int) -> None:
        """Record the number of bytes buffered for a connection."""
        before = self._buffered.get(connection, 0)
        if size == before:
            return
        self.buffered_bytes += size - before
        if size:
            self._buffered[connection] = size
        else:
            del self._buffered[connection]
        if self.buffered_bytes > client_limits.BUFFERED_BYTES:
            self._reduce_buffered()

    def _reduce_buffered(self) -> None:
        """Abort the longest waiting connections among those that buffer at least the average."""
        # The application may have read some bytes since they were reported.
        self._buffered = {each: size for each in self._buffered if (size := each.buffered_bytes)}
        self.buffered_bytes = sum(self._buffered.values())
        # Well below the limit, so that this does not run again at once.
        enough = client_limits.BUFFERED_BYTES * 7 // 8
        average = self.buffered_bytes / max(1, len(self._buffered))
        large = [each for each, size in self._buffered.items() if size >= average]
        for connection in large:
            if self.buffered_bytes <= enough:
                return
            self.buffered_bytes -= self._buffered.pop(connection)
            self.mark_busy(connection)
            connection.abort()

    def make_room(self) -> None:
        """Abort a few waiting connections, if there are any."""
        latest = time.monotonic() - _GRACE_SECONDS
        for waiting in (self._awaiting_request, self._awaiting_body):
            number = min(_MAX_EVICTED, max(1, len(waiting) // _EVICTED_FRACTION))
            longest_waiting = [each for each, since in islice(waiting.items(), number) if since < latest]
            for connection in longest_waiting:
                self.mark_busy(connection)
                connection.abort()
            if longest_waiting:
                return
