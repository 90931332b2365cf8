"""The connections of one server: how many there are, and which is given up for a new one when there is no room."""

import math
import time
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from uvicorn.server import ServerState

_MOST_AT_ONCE = 32
_SHARE = 8
"""No more than this part of those that wait are given up at once."""

_GRACE_SECONDS = 0.1
"""So long each may wait in any case: what its client has sent may not have been read yet."""


class Connection(Protocol):
    """What can be given up."""

    def give_up(self) -> None:
        """Close at once; `Connections.left` is called when that is done."""


class Connections(ServerState):
    """uvicorn's state of a server, with the order in which its connections are given up.

    A connection for whose client the server waits may be given up: first those without a request, the longest silent
    first, then those whose body is still on its way. One whose request is being answered never is.
    """

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self.most = most
        self.count = 0
        self.on_left: Callable[[], None] | None = None
        self._without_request: dict[Connection, float] = {}
        self._without_body: dict[Connection, float] = {}

    @property
    def room(self) -> float:
        """How many more there may be."""
        return self.most - self.count

    @property
    def has_beginning(self) -> bool:
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
