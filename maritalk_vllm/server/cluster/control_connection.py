"""Messages between the supervisors of two nodes, on one TCP connection whose heartbeats detect a lost node quickly."""

import asyncio
import contextlib
import json
import logging
from asyncio import StreamReader, StreamWriter
from typing import Any

from ...errors import MariTalkError, from_message

HEARTBEAT_SECONDS = 1.0
"""Interval between the heartbeats that each side sends."""

TIMEOUT_SECONDS = 10.0
"""Silence after which the other side counts as lost: long enough for TCP to retransmit dropped packets."""

ROOT_CAUSE_SECONDS = 2.0
"""How long to wait, after the local engine fails, for another node to report the failure that caused it."""

MAX_MESSAGE_BYTES = 1 << 20
"""Limit for the streams of a connection: vLLM's errors may be pages long. A host that is no node cannot send more."""

Message = dict[str, Any]

_MAX_UNREADABLE = 100
"""Consecutive unreadable messages from an authenticated node after which it counts as lost."""

_log = logging.getLogger(__name__)

_NOT_A_NODE = "it does not follow the nodes' protocol"
_HEARTBEAT: Message = {"event": "beat"}


class ConnectionLost(Exception):
    """The other side is disconnected. The message says how that was detected, as the end of a sentence."""


class ControlConnection:
    """One end of the connection. It sends heartbeats until it is closed."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.peer = str((writer.get_extra_info("peername") or ("?",))[0]).partition("%")[0]
        """The other side's address."""
        self.is_known = False
        """True once the other side is known to be a node: its unreadable messages are skipped, and not fatal."""
        self._unreadable = 0
        self._heartbeat_task = asyncio.get_running_loop().create_task(self._send_heartbeats())

    async def receive(self) -> Message:
        """Return the next message that is not a heartbeat. Raises ConnectionLost."""
        while (message := await self._next()) == _HEARTBEAT:
            pass
        return message

    def send(self, message: Message) -> None:
        """Send a message. It is dropped if the connection is lost, which `receive` reports."""
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.write(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Close the connection. Messages sent before are still delivered if the other side reads them."""
        self._heartbeat_task.cancel()
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()

    async def _next(self) -> Message:
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    data = await self._reader.readline()
            except TimeoutError:
                raise ConnectionLost(f"nothing was heard of it for {TIMEOUT_SECONDS:.0f} s") from None
            except OSError:
                data = b""
            except ValueError:  # longer than MAX_MESSAGE_BYTES; the reader has discarded it
                data = b"\n"
            if not data:
                raise ConnectionLost("it closed its connection")
            if (message := _parse(data)) is not None:
                self._unreadable = 0
                return message
            self._unreadable += 1
            if not self.is_known or self._unreadable > _MAX_UNREADABLE:
                raise ConnectionLost(_NOT_A_NODE)
            if self._unreadable == 1:
                _log.warning("A message of the node at %s cannot be read, and is left out.", self.peer)

    async def _send_heartbeats(self) -> None:
        while True:
            self.send(_HEARTBEAT)
            await asyncio.sleep(HEARTBEAT_SECONDS)


def parse_error(message: Message) -> MariTalkError | None:
    """Return the error that a message reports; None if it reports none in our format."""
    if not all(isinstance(message.get(name), str) for name in ("error", "message", "hint")):
        return None
    return from_message(message)


def _parse(data: bytes) -> Message | None:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
