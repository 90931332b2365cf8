"""A transport that sends the parts of a response together, and closes without losing the end of a response."""

import asyncio
from collections.abc import Callable
from typing import Any

from . import client_limits

_BATCH_BYTES = 16 * 1024
"""Maximum size of a combined write. Below it, a system call costs more than a copy of the data."""


class Transport:
    """A transport that combines writes until the event loop's next iteration, and whose `close` lingers.

    uvicorn writes the head and the body of a response separately, each as a system call and a packet of its own.

    The kernel responds with a reset to data that arrives at a closed socket, or that was never read; and a reset
    discards what the client has not read yet, such as the response that rejects its body. Over plain TCP, `close`
    therefore shuts down the sending direction first, and closes the connection when the client has closed its own; the
    protocol ignores data that arrives meanwhile. TLS has a closing message of its own, which asyncio waits for.
    """

    def __init__(self, transport: Any, may_receive_more: Callable[[], bool]) -> None:  # noqa: ANN401
        """`may_receive_more` returns whether the client may still be sending data, which will not be read."""
        self._transport = transport
        self._may_receive_more = may_receive_more
        self._is_closing = self._eof_sent = False
        self._parts: list[bytes] = []
        self._size = 0
        self._flushing: asyncio.Handle | None = None
        # Bound directly for speed: each request calls these.
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        """Write data; ignored after `close`."""
        if self._is_closing or not data:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > _BATCH_BYTES:
            self.flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write the combined data to the underlying transport."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        parts, size, self._parts, self._size = self._parts, self._size, [], 0
        if size and not self._transport.is_closing():
            for part in parts if size > _BATCH_BYTES else (b"".join(parts),):
                self._transport.write(part)

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes not sent yet."""
        size: int = self._transport.get_write_buffer_size()
        return size + self._size

    def is_closing(self) -> bool:
        """Return whether `close` was called or the connection is lost."""
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        """Send all written data and EOF; close when the client does, or after LINGER_SECONDS."""
        if self._is_closing:
            return
        self.flush()
        self._is_closing = True
        lingers = self._may_receive_more() and not self._eof_sent and self._transport.can_write_eof()
        if not lingers or self._transport.is_closing():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
            self._transport.resume_reading()
        except (OSError, RuntimeError):  # the client has disconnected
            self._transport.close()
        else:
            asyncio.get_running_loop().call_later(client_limits.LINGER_SECONDS, self._transport.close)

    def write_eof(self) -> None:
        """Send all written data and EOF. The caller waits for the client's EOF, and then closes."""
        self.flush()
        self._eof_sent = True
        self._transport.write_eof()

    def release(self) -> None:
        """After the connection is closed, drop the reference to its protocol, a cycle that needs garbage collection."""
        self._may_receive_more = _receives_nothing

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._transport, name)


def _receives_nothing() -> bool:
    return False
