"""Detection of clients that do not read their response."""

import asyncio

from . import client_limits
from .transport import Transport


class UnreadResponse:
    """Aborts a connection whose client reads nothing of a pending response for WRITE_STALL_SECONDS."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    def watch(self) -> None:
        """Start watching if there is unsent data."""
        if self._timer is None and (unsent := self._transport.get_write_buffer_size()):
            self._unsent_bytes = unsent
            self._timer = asyncio.get_running_loop().call_later(client_limits.WRITE_STALL_SECONDS, self._check)

    def stop(self) -> None:
        """Stop watching: the client reads, or the connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        if self._transport.get_write_buffer_size() >= self._unsent_bytes:
            self._transport.abort()
        else:
            self.watch()
