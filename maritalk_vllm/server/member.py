"""The side of a group's other nodes: a line to node 0, which says when to begin and when to end."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NoReturn

from ..errors import EngineError, MariTalkError, from_message, to_message
from .group import Group
from .line import CAUSE_SECONDS, LONGEST_BYTES, Gone, Line, Message
from .node_lost import NodeLost
from .terms import Terms

_CONNECT_SECONDS = 3.0
_AGAIN_SECONDS = 1.0
_NEXT_ADDRESS_SECONDS = 0.25


class Member:
    """Looks for node 0, for as long as it takes, and does as it says."""

    counts = False
    lacks_somebody = False

    def __init__(self, group: Group, terms: Terms) -> None:
        self._group = group
        self._terms = terms
        self._line: Line | None = None
        self._begun = False

    async def gathered(self, show: Callable[[str], None]) -> Message:
        """Until node 0 says that all begin, and with what. Raises what it refuses this node for."""
        while True:
            line = await self._connected(show)
            try:
                message = await line.receive()
            except Gone:
                self._hang_up()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            match message.get("event"):
                case "begin":
                    self._begun = True
                    return message
                case "refused":
                    raise from_message(message)
                case "taken":
                    show(f"Waiting for node 0, which has a node {self._group.rank} at {message.get('by')}")
                    self._hang_up()
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def broken(self) -> NoReturn:
        """Until node 0 ends this round, or is gone. Raises NodeLost: why."""
        assert self._line is not None
        try:
            while (message := await self._line.receive()).get("event") != "end":
                pass
        except Gone as gone:
            self._hang_up()
            self._begun = False
            raise NodeLost.gone(0, self._group.head, gone) from gone
        raise NodeLost(f"Node 0 starts the engine again. {message.get('message', '')}")

    async def cause(self, error: EngineError) -> EngineError:
        """What this node's part has died of, if node 0 says soon that it was no fault of this node's."""
        if not self._begun:
            return error
        try:
            await asyncio.wait_for(self.broken(), CAUSE_SECONDS)
        except TimeoutError:
            return error
        except NodeLost as lost:
            return lost

    def over(self, error: MariTalkError) -> None:
        """This node's part cannot go on: node 0 is told why, unless it has said so itself."""
        self._begun = False
        if self._line is not None and not isinstance(error, NodeLost):
            self._line.send({"event": "failed", **to_message(error)})

    def idle(self) -> None:
        """Nothing of this node's part is left: it could begin again."""
        self._begun = False
        if self._line is not None:
            self._line.send({"event": "idle"})

    async def left_alone(self) -> None:
        """Until node 0 needs this node's part no more."""
        if self._begun and self._line is not None:
            with contextlib.suppress(NodeLost):
                await self.broken()

    async def close(self) -> None:
        """Hang up, by which node 0 knows that this node is gone."""
        self._hang_up()

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    async def _connected(self, show: Callable[[str], None]) -> Line:
        """A line on which this node has said who it is."""
        while self._line is None:
            show(f"Waiting for node 0 at {self._group.head}")
            try:
                connecting = asyncio.open_connection(
                    self._group.head,
                    self._group.line_port,
                    limit=LONGEST_BYTES,
                    happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                )
                line = Line(*await asyncio.wait_for(connecting, _CONNECT_SECONDS))
            except (OSError, TimeoutError):
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            line.send({"event": "hello", "rank": self._group.rank, "terms": self._terms})
            self._line = line
            show("Waiting for the other nodes")
        return self._line
