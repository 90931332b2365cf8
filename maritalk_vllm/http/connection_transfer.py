"""A connection of a client, which can be passed on to another process as long as no request has come whole."""

import os
from asyncio import BaseTransport
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from .protocol import HttpProtocol

_KEPT_BYTES = 32 * 1024
"""How much of a request is kept until it is whole, to be passed on with its connection."""


class TransferableProtocol(HttpProtocol):
    """It knows which bytes have come of a request that is not whole yet."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401
        already_read: bytes = b"",
        is_used: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """`already_read`, `is_used`: what another process has read, and whether it has answered a request before."""
        super().__init__(*arguments, **options)
        self._already_read = already_read
        self._was_used = is_used
        self._ended_a_request = False
        # None where it is long, or where it began in one piece with the end of the request before.
        self._unfinished: bytes | None = b""

    def connection_made(self, transport: BaseTransport) -> None:
        """A client has connected, here or to the process that passed it on."""
        super().connection_made(transport)
        if self._already_read:
            self.data_received(self._already_read)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self.transport.is_closing():
            return
        before, self._ended_a_request = self._unfinished if self.is_receiving else b"", False
        super().data_received(data)
        if self.is_receiving:
            kept = None if self._ended_a_request or before is None else before + data
            self._unfinished = kept if kept is not None and len(kept) <= _KEPT_BYTES else None
        elif before:
            self._unfinished = b""

    def on_message_complete(self) -> None:
        """The end of a request."""
        super().on_message_complete()
        if not self.is_receiving:
            self._ended_a_request = True

    @property
    def held_bytes(self) -> int:
        """With what is kept to be passed on."""
        return super().held_bytes + (len(self._unfinished or b"") if self.is_receiving else 0)

    def shutdown(self) -> None:
        """Close after the answer in progress; a connection that is being closed already is left as it is."""
        if not self.is_over:
            super().shutdown()

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn: nothing that has come can be answered yet."""
        if self.transport.is_closing() or self.is_over or self.has_more:
            return False
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            return True
        if cycle.response_complete:
            return not cycle.more_body
        return cycle.more_body and not cycle.response_started

    @property
    def is_incomplete(self) -> bool:
        """Whether a request is still on its way, or is about to be sent as the first."""
        return self.waits and (self.is_receiving or not self.is_used)

    @property
    def is_used(self) -> bool:
        """Whether there was a request before: its client may be done, and sends another if it likes."""
        return self._was_used or self.cycle is not None

    def export(self) -> tuple[int, bytes] | None:
        """A copy of the socket's descriptor, and what was read of a request; None where no other process can go on.

        The caller closes the copy, and ends the connection here by `left`.
        """
        read = self._unfinished if self.is_receiving else b""
        # What TLS knows of a connection stays in its process.
        if not self.waits or self.scheme == "https" or read is None or self.transport.get_write_buffer_size():
            return None
        try:
            return os.dup(self.transport.get_extra_info("socket").fileno()), read
        except OSError:
            return None

    def left(self) -> None:
        """Another process has the connection: end it here, and send the client nothing."""
        self.transport.abort()
