"""Messages between the supervisors of two nodes, on one connection that tells soon when the other side is gone."""

import asyncio
import contextlib
import json
import logging
from asyncio import StreamReader, StreamWriter
from typing import Any

from ...errors import MariTalkError, from_message

BEAT_SECONDS = 1.0
"""How often each side shows that it is there."""

GONE_SECONDS = 10.0
"""Silence after which the other side counts as gone: long enough for TCP to repeat what a network has lost."""

CAUSE_SECONDS = 2.0
"""How long an engine's failure may wait for the word of another node, of whose end it may have come."""

LONGEST_BYTES = 1 << 20
"""A line's length, for the streams that it is made of: vLLM's errors may be pages. A stranger cannot send more."""

Message = dict[str, Any]

_MOST_UNREADABLE = 100
"""Lines in a row that make no sense, from a node that is known, until it counts as gone."""

_log = logging.getLogger(__name__)

_STRANGER = "it does not speak as a node does"
_BEAT: Message = {"event": "beat"}


class ConnectionLost(Exception):
    """The other side is not there any more; how that was seen, as an end of a sentence."""


class ControlConnection:
    """One end of the connection. It beats from the beginning until it is closed."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.peer = str((writer.get_extra_info("peername") or ("?",))[0]).partition("%")[0]
        """The other side's address."""
        self.is_known = False
        """Whether the other side is a node: then a line that makes no sense is left out, and does not end all."""
        self._unreadable = 0
        self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def receive(self) -> Message:
        """The next message that is not a beat. Raises Gone."""
        while (message := await self._next()) == _BEAT:
            pass
        return message

    def send(self, message: Message) -> None:
        """Send; silently into the void if the other side is gone, which `receive` tells."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Hang up. What was sent before still goes out, if the other side takes it."""
        self._beating.cancel()
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()

    async def _next(self) -> Message:
        while True:
            try:
                data = await asyncio.wait_for(self._reader.readline(), GONE_SECONDS)
            except TimeoutError:
                raise ConnectionLost(f"nothing was heard of it for {GONE_SECONDS:.0f} s") from None
            except OSError:
                data = b""
            except ValueError:  # a line longer than any of ours, of which the reader has got rid
                data = b"\n"
            if not data:
                raise ConnectionLost("it closed its connection")
            if (message := _read(data)) is not None:
                self._unreadable = 0
                return message
            self._unreadable += 1
            if not self.is_known or self._unreadable > _MOST_UNREADABLE:
                raise ConnectionLost(_STRANGER)
            if self._unreadable == 1:
                _log.warning("A message of the node at %s cannot be read, and is left out.", self.peer)

    async def _beat(self) -> None:
        while True:
            self.send(_BEAT)
            await asyncio.sleep(BEAT_SECONDS)


def told_error(message: Message) -> MariTalkError | None:
    """The error that a message tells of; None if it tells of none in our form."""
    if not all(isinstance(message.get(name), str) for name in ("error", "message", "hint")):
        return None
    return from_message(message)


def _read(data: bytes) -> Message | None:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
