"""An answer that its client does not read."""

import asyncio

from . import client_limits
from .transport import Transport


class UnreadResponse:
    """Ends a connection whose client takes nothing, for UNREAD_SECONDS, of what waits to be sent."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0

    def watch(self) -> None:
        """Begin, if anything waits to be sent."""
        if self._timer is None and (unread := self._transport.get_write_buffer_size()):
            self._unread = unread
            self._timer = asyncio.get_running_loop().call_later(client_limits.UNREAD_SECONDS, self._look)

    def stop(self) -> None:
        """The client reads, or the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() >= self._unread:
            self._transport.abort()
        else:
            self.watch()
