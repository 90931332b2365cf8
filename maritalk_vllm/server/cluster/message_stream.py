"""Messages as frames on a TCP connection of two nodes."""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from typing import TypeVar

from ..messaging.direction import HEADER_BYTES, Direction

T = TypeVar("T")


class ConnectionLost(Exception):
    """The other side is disconnected. The message says how that was detected, as the end of a sentence."""


class MessageStream:
    """One end of the connection. The direction is an argument of each call: it changes after the handshake."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._header: bytes | None = None  # of a message whose content has not arrived when `receive` was cancelled
        self.peer = str((writer.get_extra_info("peername") or ("?",))[0]).partition("%")[0]
        """The other side's address."""

    async def receive(self, direction: Direction[T]) -> T:
        """Return the next message. If this is cancelled, the next call continues.

        Raises ConnectionLost, and MessageError for a message that `direction` does not have. After a MessageError the
        stream cannot be used any more. No more than `direction.max_bytes` are stored for a message.
        """
        try:
            if self._header is None:
                self._header = await self._reader.readexactly(HEADER_BYTES)
            content = await self._reader.readexactly(direction.length(self._header))
        except asyncio.IncompleteReadError as error:
            if self._header is None and not error.partial:
                raise ConnectionLost("it closed its connection") from None
            raise ConnectionLost("it closed its connection within a message") from None
        except OSError:
            raise ConnectionLost("it closed its connection") from None
        self._header = None
        return direction.decode(content)

    def send(self, direction: Direction[T], message: T) -> None:
        """Send a message. It is dropped if the connection is lost, which `receive` reports.

        Raises MessageError if it is too long.
        """
        frame = direction.frame(message)
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(frame)

    def close(self) -> None:
        """Close the connection. Messages sent before are still delivered if the other side reads them."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()
