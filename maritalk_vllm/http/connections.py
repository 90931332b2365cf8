"""The connections of one server: how many there are, and which is given up for a new one when there is no room."""

import math
import time
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from uvicorn.server import ServerState

from . import client_limits

_MOST_AT_ONCE = 32
_SHARE = 8
"""No more than this part of those that wait are given up at once."""

_GRACE_SECONDS = 0.1
"""So long each may wait in any case: what its client has sent may not have been read yet."""


class Connection(Protocol):
    """What can be given up."""

    @property
    def held_bytes(self) -> int:
        """How much is kept of what its client has sent."""

    def give_up(self) -> None:
        """Close at once; `Connections.left` is called when that is done."""


class Connections(ServerState):
    """uvicorn's state of a server, with the order in which its connections are given up.

    A connection for whose client the server waits may be given up: first those without a request, the longest silent
    first, then those whose body is still on its way. One whose request is being answered never is.

    What is kept of requests that are not whole has a limit in all, too: those that keep much, and have waited longest
    for the rest, are given up above it, even if a request that came before is being answered.
    """

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.most = most
        self.count = 0
        self.on_left: Callable[[], None] | None = None
        self._without_request: dict[Connection, float] = {}
        self._without_body: dict[Connection, float] = {}
        self._held: dict[Connection, int] = {}
        self.held_bytes = 0

    @property
    def room(self) -> float:
        """How many more there may be."""
        return self.most - self.count

    @property
    def has_pending(self) -> bool:
        """Whether one was accepted that has not begun: with TLS, before the end of its handshake."""
        return self.count > len(self.connections)

    def left(self) -> None:
        """One has ended."""
        self.count -= 1
        if self.on_left is not None:
            self.on_left()

    def waits_for_request(self, connection: Connection) -> None:
        """This one has no request, or one that was answered before it had come."""
        self._without_body.pop(connection, None)
        self._without_request.setdefault(connection, time.monotonic())

    def waits_for_body(self, connection: Connection) -> None:
        """This one has the head of a request."""
        self._without_request.pop(connection, None)
        self._without_body.setdefault(connection, time.monotonic())

    def works(self, connection: Connection) -> None:
        """This one has a request, or is closed."""
        self._without_request.pop(connection, None)
        self._without_body.pop(connection, None)

    def holds(self, connection: Connection, size: int) -> None:
        """So much is kept of what this one has received."""
        before = self._held.get(connection, 0)
        if size == before:
            return
        self.held_bytes += size - before
        if size:
            self._held[connection] = size
        else:
            del self._held[connection]
        if self.held_bytes > client_limits.HELD_BYTES:
            self._hold_less()

    def _hold_less(self) -> None:
        """Give up those that have waited longest, of those that keep no less than the average."""
        # Since it was last counted, the application may have read some.
        self._held = {each: size for each in self._held if (size := each.held_bytes)}
        self.held_bytes = sum(self._held.values())
        # Well below the limit, so that the next count is not due at once.
        enough = client_limits.HELD_BYTES * 7 // 8
        average = self.held_bytes / max(1, len(self._held))
        large = [each for each, size in self._held.items() if size >= average]
        for connection in large:
            if self.held_bytes <= enough:
                return
            self.held_bytes -= self._held.pop(connection)
            self.works(connection)
            connection.give_up()

    def make_room(self) -> None:
        """Give up a few, if there are any that wait."""
        begun = time.monotonic() - _GRACE_SECONDS
        for waiting in (self._without_request, self._without_body):
            few = min(_MOST_AT_ONCE, max(1, len(waiting) // _SHARE))
            longest = [each for each, since in islice(waiting.items(), few) if since < begun]
            for connection in longest:
                self.works(connection)
                connection.give_up()
            if longest:
                return
