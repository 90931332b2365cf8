"""Messages between the supervisors of two nodes, on one connection that tells soon when the other side is gone."""

import asyncio
import contextlib
import json
from asyncio import StreamReader, StreamWriter
from typing import Any

BEAT_SECONDS = 1.0
"""How often each side shows that it is there."""

GONE_SECONDS = 10.0
"""Silence after which the other side counts as gone: long enough for TCP to repeat what a network has lost."""

CAUSE_SECONDS = 2.0
"""How long an engine's failure may wait for the word of another node, of whose end it may have come."""

LONGEST_BYTES = 1 << 20
"""A line's length, for the streams that it is made of: vLLM's errors may be pages. A stranger cannot send more."""

Message = dict[str, Any]

_STRANGER = "it does not speak as a node does"
_BEAT: Message = {"event": "beat"}


class Gone(Exception):
    """The other side is not there any more; how that was seen, as an end of a sentence."""


class Line:
    """One end of the connection. It beats from the beginning until it is closed."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.peer = str((writer.get_extra_info("peername") or ("?",))[0]).partition("%")[0]
        """The other side's address."""
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
        try:
            data = await asyncio.wait_for(self._reader.readline(), GONE_SECONDS)
        except TimeoutError:
            raise Gone(f"nothing was heard of it for {GONE_SECONDS:.0f} s") from None
        except OSError:
            data = b""
        except ValueError:  # a line longer than any of ours
            raise Gone(_STRANGER) from None
        if not data:
            raise Gone("it closed its connection")
        try:
            message = json.loads(data)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise Gone(_STRANGER)
        return message

    async def _beat(self) -> None:
        while True:
            self.send(_BEAT)
            await asyncio.sleep(BEAT_SECONDS)
