"""Node 0's side of a group: who is there, when all begin, and who is missed."""

import asyncio
import contextlib
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ...errors import EngineError, MariTalkError, PortError, UsageError, to_message
from .cluster_config import ClusterConfig, check_own
from .compatibility import Compatibility, find_mismatch
from .control_connection import CAUSE_SECONDS, LONGEST_BYTES, ConnectionLost, ControlConnection, Message, told_error
from .handshake import HEAD, NODE, new_nonce, nonce_of, proof, proves
from .node_lost import NodeLost

_HELLO_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_CLOSE_SECONDS = 1.0

_MOST_STRANGERS = 64
"""Connections that have not said yet which node they are."""

_SAME_SECRET = "Give every node the same --nodes-secret-file, or none."

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Node:
    rank: int
    line: ControlConnection
    idle: bool = True


class Leader:
    """The other nodes, each on a line of its own.

    They come in any order and as often as they like. Once all are idle a round begins, in which each loads its part; it
    ends when a node is lost, or when the engine here has ended, and the next begins when all are idle again.
    """

    counts = True

    def __init__(self, group: ClusterConfig, terms: Compatibility, told: Message) -> None:
        """`told`: what the others are told as a round begins."""
        self._group = group
        self._terms = terms
        self._told = told
        self._nodes: dict[int, _Node] = {}
        self._seen: dict[int, str] = {}
        self._changed = asyncio.Event()
        self._breach: asyncio.Future[EngineError] | None = None
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[Any], ControlConnection] = {}
        self._strangers = 0

    async def wait_for_peers(self, show: Callable[[str], None]) -> Message:
        """Until every other node is here and idle; then all begin. Raises UsageError or PortError."""
        if self._server is None:
            await self._until_known(show)
            self._server = await self._listen()
        while missing := self._missing():
            show(f"Waiting for {', '.join(missing)}")
            self._changed.clear()
            await self._changed.wait()
        self._breach = asyncio.get_running_loop().create_future()
        for node in self._nodes.values():
            node.idle = False
            node.line.send({"event": "begin", **self._told})
        return self._told

    @property
    def has_missing_nodes(self) -> bool:
        """Whether a node is not there at all."""
        return len(self._nodes) < self._group.nodes - 1

    async def broken(self) -> NoReturn:
        """Until a node is lost, or says that its part has failed. Raises EngineError: which, and why."""
        assert self._breach is not None
        raise await asyncio.shield(self._breach)

    async def cause(self, error: EngineError) -> EngineError:
        """What the engine here has died of, if it is soon known to be another node's failure."""
        if self._breach is not None:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self._breach), CAUSE_SECONDS)
        return error

    def over(self, error: MariTalkError) -> None:
        """This round is over: the others end their parts."""
        self._breach = None
        for node in self._nodes.values():
            if not node.idle:
                node.line.send({"event": "end", **to_message(error)})

    def idle(self) -> None:
        """The others are waited for, not told."""

    async def wait_until_released(self) -> None:
        """At once: what is under way is waited for by who answers it."""

    async def close(self) -> None:
        """Hang up, which ends the other nodes' parts."""
        if self._server is not None:
            self._server.close()
        for line in self._lines.values():
            line.close()
        if self._lines:
            await asyncio.wait(list(self._lines), timeout=_CLOSE_SECONDS)

    async def _until_known(self, show: Callable[[str], None]) -> None:
        """In a cluster a machine's own name may be known a little later than the machine is there."""
        # A name server may take its time, in which this loop has to beat and to answer.
        while not await asyncio.to_thread(check_own, self._group):
            show(f"Waiting for the name {self._group.head} to be known")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _listen(self) -> asyncio.Server:
        port = self._group.line_port
        try:
            # Nowhere else: whoever comes in may speak for a node.
            return await asyncio.start_server(self._welcome, self._group.head, port, limit=LONGEST_BYTES)
        except OSError as error:
            raise PortError(
                f"Node 0 cannot listen for the other nodes on port {port}: {error.strerror}.",
                "Choose another with --head ADDRESS:PORT, of which it is the next.",
            ) from error

    def _missing(self) -> list[str]:
        """Whom to wait for, in words."""
        ranks = (rank for rank in range(1, self._group.nodes) if rank not in self._nodes or not self._nodes[rank].idle)
        return [f"node {rank} ({self._seen[rank]})" if rank in self._seen else f"node {rank}" for rank in ranks]

    async def _welcome(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._strangers >= _MOST_STRANGERS:
            writer.close()
            return
        line = ControlConnection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = line
        try:
            self._strangers += 1
            try:
                node = await self._admitted(line)
            finally:
                self._strangers -= 1
            if node is not None:
                await self._attend(node)
        finally:
            line.close()
            del self._lines[task]

    async def _admitted(self, line: ControlConnection) -> _Node | None:
        """The node at the other end of the line; None if it cannot take part, which it is told."""
        nonce = new_nonce()
        line.send({"event": "challenge", "nonce": nonce})
        try:
            hello = await asyncio.wait_for(line.receive(), _HELLO_SECONDS)
        except (ConnectionLost, TimeoutError):
            return None
        rank = hello.get("rank")
        # True is an int too.
        if hello.get("event") != "hello" or type(rank) is not int or not 0 < rank < self._group.nodes:
            return None
        theirs, terms = nonce_of(hello), hello.get("terms")
        error: MariTalkError | None = self._unproven(hello, rank, nonce, theirs)
        if error is None and self._group.secret is not None and theirs is not None:
            line.send({"event": "welcome", "proof": proof(self._group.secret, HEAD, rank, nonce, theirs)})
        if error is None and (other := self._nodes.get(rank)) is not None:
            line.send({"event": "taken", "by": other.line.peer})
            return None
        if error := error or find_mismatch(rank, terms if isinstance(terms, dict) else {}, self._terms):
            _log.warning("The node at %s is refused: %s", line.peer, error.message)
            line.send({"event": "refused", **to_message(error)})
            return None
        line.is_known = True
        node = self._nodes[rank] = _Node(rank, line)
        self._seen[rank] = line.peer
        self._changed.set()
        return node

    def _unproven(self, hello: Message, rank: int, ours: str, theirs: str | None) -> UsageError | None:
        """Why the proof in `hello` does not make the node one of this group; None if it does."""
        secret = self._group.secret
        if secret is None:
            if "proof" not in hello:
                return None
            return UsageError(f"Node {rank} has a secret, and node 0 has none.", _SAME_SECRET)
        if "proof" not in hello:
            return UsageError(f"Node {rank} has no secret, and node 0 has one.", _SAME_SECRET)
        if theirs is None or not proves(hello, proof(secret, NODE, rank, ours, theirs)):
            return UsageError(f"Node {rank} has another secret than node 0.", _SAME_SECRET)
        return None

    async def _attend(self, node: _Node) -> None:
        """Listen to a node until it is gone."""
        try:
            while True:
                self._heard(node, await node.line.receive())
        except ConnectionLost as gone:
            self._break(NodeLost.gone(node.rank, node.line.peer, gone))
        finally:
            del self._nodes[node.rank]
            self._changed.set()

    def _heard(self, node: _Node, message: dict[str, Any]) -> None:
        match message.get("event"):
            case "idle":
                node.idle = True
                self._changed.set()
            case "failed":
                if (error := told_error(message)) is None:
                    return
                told = f"Node {node.rank} ({node.line.peer}): {error.message}"
                self._break(EngineError(told, error.hint))

    def _break(self, error: EngineError) -> None:
        if self._breach is not None and not self._breach.done():
            self._breach.set_result(error)
