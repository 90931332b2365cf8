"""Closing a TCP connection so that its client reads the last answer, whatever it is still sending."""

import asyncio
from collections.abc import Callable
from typing import Any

from . import bounds


class Lingering:
    """A transport whose `close` ends our direction first, and the connection when the client has ended its own.

    The kernel answers a byte that comes to a closed socket, or that was never read, with a reset; and a reset throws
    away what the client has not read yet, such as the answer that rejects its body. The protocol ignores what still
    comes.
    """

    def __init__(self, transport: asyncio.Transport, more_may_come: Callable[[], bool]) -> None:
        """`more_may_come`: whether the client is still sending what is not read any more."""
        self._transport = transport
        self._more_may_come = more_may_come
        self._is_closing = self._has_ended = False
        # The transport's own methods, for what each request calls.
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Write, until `close`."""
        if not self._is_closing:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether `close` was called, or the connection is lost."""
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        """Send what is written, then the end; close when the client does, at the latest after LINGER_SECONDS."""
        if self._is_closing:
            return
        self._is_closing = True
        if self._has_ended or self._transport.is_closing() or not self._more_may_come():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
            self._transport.resume_reading()
        except (OSError, RuntimeError):  # the client has gone
            self._transport.close()
        else:
            asyncio.get_running_loop().call_later(bounds.LINGER_SECONDS, self._transport.close)

    def write_eof(self) -> None:
        """Send the end. Whoever does so waits for the client's own, and closes then."""
        self._has_ended = True
        self._transport.write_eof()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._transport, name)


def lingering(transport: asyncio.Transport, more_may_come: Callable[[], bool]) -> Any:  # noqa: ANN401
    """The transport; over TCP alone, one that lingers. TLS ends with a message of its own, which is waited for."""
    return Lingering(transport, more_may_come) if transport.can_write_eof() else transport
