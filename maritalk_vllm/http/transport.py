"""A connection's transport: the parts of an answer go out together, and its end does not lose the last one."""

import asyncio
from collections.abc import Callable
from typing import Any

from . import client_limits

_TOGETHER_BYTES = 16 * 1024
"""So much is written at once: the system call costs more than a copy of it."""


class Transport:
    """A transport that gathers what is written until the loop's next step, and whose `close` lingers.

    uvicorn writes the head and the body of an answer apart, and each is a system call and a packet of its own.

    The kernel answers a byte that comes to a closed socket, or that was never read, with a reset; and a reset throws
    away what the client has not read yet, such as the answer that rejects its body. Over TCP alone, `close` ends this
    direction first, and the connection when the client has ended its own; the protocol ignores what still comes. TLS
    ends with a message of its own, which is waited for.
    """

    def __init__(self, transport: Any, more_may_come: Callable[[], bool]) -> None:  # noqa: ANN401
        """`more_may_come`: whether the client is still sending what is not read any more."""
        self._transport = transport
        self._more_may_come = more_may_come
        self._is_closing = self._has_ended = False
        self._parts: list[bytes] = []
        self._size = 0
        self._flushing: asyncio.Handle | None = None
        # The transport's own methods, for what each request calls.
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        """Write, until `close`."""
        if self._is_closing or not data:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > _TOGETHER_BYTES:
            self.flush()
        elif self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        parts, size, self._parts, self._size = self._parts, self._size, [], 0
        if size and not self._transport.is_closing():
            for part in parts if size > _TOGETHER_BYTES else (b"".join(parts),):
                self._transport.write(part)

    def get_write_buffer_size(self) -> int:
        """How much is not sent yet."""
        size: int = self._transport.get_write_buffer_size()
        return size + self._size

    def is_closing(self) -> bool:
        """Whether `close` was called, or the connection is lost."""
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        """Send what is written, then the end; close when the client does, at the latest after LINGER_SECONDS."""
        if self._is_closing:
            return
        self.flush()
        self._is_closing = True
        lingers = self._more_may_come() and not self._has_ended and self._transport.can_write_eof()
        if not lingers or self._transport.is_closing():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
            self._transport.resume_reading()
        except (OSError, RuntimeError):  # the client has gone
            self._transport.close()
        else:
            asyncio.get_running_loop().call_later(client_limits.LINGER_SECONDS, self._transport.close)

    def write_eof(self) -> None:
        """Send what is written, then the end. The caller waits for the client's own, and closes then."""
        self.flush()
        self._has_ended = True
        self._transport.write_eof()

    def release(self) -> None:
        """The connection is closed: keep nothing that refers to its protocol, so that no garbage collection is due."""
        self._more_may_come = _nothing_comes

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._transport, name)


def _nothing_comes() -> bool:
    return False
