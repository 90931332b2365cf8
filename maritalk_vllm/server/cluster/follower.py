"""The side of a group's other nodes: a line to node 0, which says when to begin and when to end."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NoReturn

from ...errors import EngineError, MariTalkError, UsageError, to_message
from .cluster_config import ClusterConfig
from .compatibility import Compatibility
from .control_connection import CAUSE_SECONDS, LONGEST_BYTES, ConnectionLost, ControlConnection, Message, told_error
from .handshake import HEAD, NODE, new_nonce, nonce_of, proof, proves
from .node_lost import NodeLost

_CONNECT_SECONDS = 3.0
_AGAIN_SECONDS = 1.0
_NEXT_ADDRESS_SECONDS = 0.25


class Follower:
    """Looks for node 0, for as long as it takes, and does as it says."""

    counts = False
    has_missing_nodes = False

    def __init__(self, group: ClusterConfig, terms: Compatibility) -> None:
        self._group = group
        self._terms = terms
        self._line: ControlConnection | None = None
        self._begun = False
        self._expected = ""

    async def wait_for_peers(self, show: Callable[[str], None]) -> Message:
        """Until node 0 says that all begin, and with what. Raises what it refuses this node for."""
        while True:
            line = await self._connected(show)
            try:
                message = await line.receive()
            except ConnectionLost:
                self._hang_up()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            event = message.get("event")
            if event == "refused" and (error := told_error(message)) is not None:
                raise error
            if event == "welcome":
                line.is_known = self._is_proven(message)
            elif event in ("begin", "taken") and not line.is_known:
                raise UsageError(
                    f"Node 0 at {self._group.head} does not prove that it has this node's secret.",
                    "Give every node the same --nodes-secret-file, or none.",
                )
            elif event == "begin" and _tells_a_length(message):
                self._begun = True
                return message
            elif event == "taken":
                show(f"Waiting for node 0, which has a node {self._group.rank} at {message.get('by')}")
                self._hang_up()
                await asyncio.sleep(_AGAIN_SECONDS)

    async def broken(self) -> NoReturn:
        """Until node 0 ends this round, or is gone. Raises NodeLost: why."""
        assert self._line is not None
        try:
            while (message := await self._line.receive()).get("event") != "end":
                pass
        except ConnectionLost as gone:
            self._hang_up()
            self._begun = False
            raise NodeLost.gone(0, self._group.head, gone) from gone
        error = told_error(message)
        raise NodeLost(f"Node 0 starts the engine again. {error.message if error else ''}".rstrip())

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

    async def wait_until_released(self) -> None:
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

    async def _connected(self, show: Callable[[str], None]) -> ControlConnection:
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
                line = ControlConnection(*await asyncio.wait_for(connecting, _CONNECT_SECONDS))
            except (OSError, TimeoutError):
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if not await self._introduced(line):
                line.close()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self._line = line
            show("Waiting for the other nodes")
        return self._line

    async def _introduced(self, line: ControlConnection) -> bool:
        """Whether this node has said who it is, and proved it: to node 0, as far as can be seen."""
        try:
            challenge = await asyncio.wait_for(line.receive(), _CONNECT_SECONDS)
        except (ConnectionLost, TimeoutError):
            return False
        theirs, rank, secret = nonce_of(challenge), self._group.rank, self._group.secret
        if challenge.get("event") != "challenge" or theirs is None:
            return False
        hello = {"event": "hello", "rank": rank, "terms": self._terms}
        if secret is None:
            line.is_known = True
        else:
            ours = new_nonce()
            hello |= {"nonce": ours, "proof": proof(secret, NODE, rank, theirs, ours)}
            self._expected = proof(secret, HEAD, rank, theirs, ours)
        line.send(hello)
        return True

    def _is_proven(self, welcome: Message) -> bool:
        return self._group.secret is None or proves(welcome, self._expected)


def _tells_a_length(begin: Message) -> bool:
    """Whether node 0 says how long the context is as it would, or leaves it open."""
    length = begin.get("max_model_len")
    return length is None or (type(length) is int and length > 0)
