"""The connection of two nodes after the handshake: messages, and heartbeats that detect a lost node quickly."""

import asyncio
import logging
from typing import Generic, TypeVar

from ...i18n.message import Number, msg
from ..messaging.base_message import MessageError
from ..messaging.direction import Direction
from .message_stream import ConnectionLost, MessageStream
from .node_messages import Heartbeat

Received = TypeVar("Received")
Sent = TypeVar("Sent")

HEARTBEAT_SECONDS = 1.0
"""Interval between the heartbeats that each side sends."""

TIMEOUT_SECONDS = 10.0
"""Silence after which the other side counts as lost: long enough for TCP to retransmit dropped packets."""

ROOT_CAUSE_SECONDS = 2.0
"""How long to wait, after the local engine fails, for another node to report the failure that caused it."""

_log = logging.getLogger(__name__)


class ControlConnection(Generic[Received, Sent]):
    """One end of the connection. It sends heartbeats until it is closed."""

    def __init__(
        self,
        stream: MessageStream,
        receives: Direction[Received | Heartbeat],
        sends: Direction[Sent | Heartbeat],
    ) -> None:
        """Use `stream` after the handshake. `receives` and `sends`: the messages of each direction."""
        self._stream = stream
        self._receives = receives
        self._sends = sends
        self.peer = stream.peer
        """The other side's address."""
        self._heartbeat_task = asyncio.get_running_loop().create_task(self._send_heartbeats())

    async def receive(self) -> Received:
        """Return the next message that is not a heartbeat. Raises ConnectionLost, also for an invalid message."""
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    message = await self._stream.receive(self._receives)
            except TimeoutError:
                raise ConnectionLost(
                    msg("no message from it for {number} s", number=Number(TIMEOUT_SECONDS, ".0f"))
                ) from None
            except MessageError as error:
                _log.warning("The connection to the node at %s is closed: %s", self.peer, error.message)
                raise ConnectionLost(
                    msg("it does not follow the nodes' protocol: {problem}", problem=error.problem)
                ) from error
            if not isinstance(message, Heartbeat):
                return message

    def send(self, message: Sent) -> None:
        """Send a message. It is dropped if the connection is lost, which `receive` reports.

        Raises MessageError if it is too long.
        """
        self._stream.send(self._sends, message)

    def close(self) -> None:
        """Close the connection. Messages sent before are still delivered if the other side reads them."""
        self._heartbeat_task.cancel()
        self._stream.close()

    async def _send_heartbeats(self) -> None:
        while True:
            self._stream.send(self._sends, Heartbeat())
            await asyncio.sleep(HEARTBEAT_SECONDS)
