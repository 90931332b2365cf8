"""Client connections that can be transferred to another process while no complete request has arrived."""

import os
from asyncio import BaseTransport
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from .protocol import HttpProtocol

_MAX_TRANSFER_BYTES = 32 * 1024
"""How much of an incomplete request is kept for a transfer."""


class TransferableProtocol(HttpProtocol):
    """Keeps the bytes received of an incomplete request, so that another process can continue the connection."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401
        already_read: bytes = b"",
        is_used: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        """`already_read`: bytes that another process has read. `is_used`: it has answered a request before."""
        super().__init__(*arguments, **options)
        self._already_read = already_read
        self._was_used = is_used
        self._completed_request = False
        # None if it is too long, or if it started in the same read as the end of the previous request.
        self._incomplete_request: bytes | None = b""

    def connection_made(self, transport: BaseTransport) -> None:
        """Handle a new connection, accepted by this process or transferred from another one."""
        super().connection_made(transport)
        if self._already_read:
            self.data_received(self._already_read)

    def data_received(self, data: bytes) -> None:
        """Parse received data, and keep the bytes of an incomplete request."""
        if self.transport.is_closing():
            return
        before, self._completed_request = self._incomplete_request if self.is_receiving else b"", False
        super().data_received(data)
        if self.is_receiving:
            kept = None if self._completed_request or before is None else before + data
            self._incomplete_request = kept if kept is not None and len(kept) <= _MAX_TRANSFER_BYTES else None
        elif before:
            self._incomplete_request = b""

    def on_message_complete(self) -> None:
        """Handle the end of a request."""
        super().on_message_complete()
        if not self.is_receiving:
            self._completed_request = True

    @property
    def buffered_bytes(self) -> int:
        """Buffered bytes, including those kept for a transfer."""
        return super().buffered_bytes + (len(self._incomplete_request or b"") if self.is_receiving else 0)

    def shutdown(self) -> None:
        """Close after the response in progress, unless the connection is being closed already."""
        if not self.is_rejecting:
            super().shutdown()

    @property
    def waits(self) -> bool:
        """Whether the server waits for the client: it has no complete request to answer."""
        if self.transport.is_closing() or self.is_rejecting or self.has_pipelined:
            return False
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None:
            return True
        if cycle.response_complete:
            return not cycle.more_body
        return cycle.more_body and not cycle.response_started

    @property
    def is_incomplete(self) -> bool:
        """Whether a request is incomplete, or the first one is still expected."""
        return self.waits and (self.is_receiving or not self.is_used)

    @property
    def has_request(self) -> bool:
        """Whether a request has begun to arrive, and is not answered."""
        if self.transport.is_closing() or self.is_rejecting:
            return False
        return self.is_answering or self.has_pipelined or (self.waits and self.is_receiving)

    @property
    def is_used(self) -> bool:
        """Whether there was a request before, so that the client may not send another."""
        return self._was_used or self.cycle is not None

    def export(self) -> tuple[int, bytes] | None:
        """Return a duplicate of the socket's descriptor, and the bytes read of an incomplete request.

        Returns None if no other process can continue the connection. The caller closes the duplicate, and then calls
        `detach`.
        """
        read = self._incomplete_request if self.is_receiving else b""
        # The TLS state of a connection cannot leave its process.
        if not self.waits or self.scheme == "https" or read is None or self.transport.get_write_buffer_size():
            return None
        try:
            return os.dup(self.transport.get_extra_info("socket").fileno()), read
        except OSError:
            return None

    def detach(self) -> None:
        """Stop handling a connection that another process has taken over, without sending anything to the client."""
        self.transport.abort()
