"""The leader's side of a group: admits followers, starts epochs, and detects lost nodes."""

import asyncio
import contextlib
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, assert_never

from ...errors import EngineError, MariTalkError, PortError, UsageError
from ...i18n.message import joined, msg
from ..messaging.base_message import MessageError
from ..messaging.error_report import ErrorReport
from .cluster_config import ClusterConfig, check_head_is_local
from .compatibility import Compatibility, find_mismatch
from .control_connection import ROOT_CAUSE_SECONDS, ControlConnection
from .handshake import FOLLOWER, LEADER, is_proof, new_nonce, proof
from .message_stream import ConnectionLost, MessageStream
from .node_lost import NodeLost
from .node_messages import (
    FROM_LEADER,
    HELLO,
    RECEPTION,
    TO_LEADER,
    Agreement,
    Begin,
    Challenge,
    End,
    FromFollower,
    FromLeader,
    Hello,
    Idle,
    Refused,
    Taken,
    Welcome,
    WorkersFailed,
)

_HELLO_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 1.0

_MAX_PENDING = 64
"""Maximum number of connections that have not completed the handshake."""

_SAME_SECRET = "Give every node the same --nodes-secret-file, or none."

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Node:
    rank: int
    connection: ControlConnection[FromFollower, FromLeader]
    idle: bool = True


class Leader:
    """Coordinator of the leader. It has one control connection for each follower.

    Followers may connect in any order, and reconnect. When all are idle a new epoch starts, in which each loads its
    part of the model. The epoch ends when a node is lost or fails, or when the leader's own engine ends; the next one
    starts when all are idle again.
    """

    def __init__(self, group: ClusterConfig, info: Compatibility, agreement: Agreement) -> None:
        """`info`: this node's values, which followers must match; `agreement`: sent to them as an epoch starts."""
        self._group = group
        self._info = info
        self._agreement = agreement
        self._nodes: dict[int, _Node] = {}
        self._last_addresses: dict[int, str] = {}
        self._changed = asyncio.Event()
        self._failure: asyncio.Future[EngineError] | None = None
        self._server: asyncio.Server | None = None
        self._streams: dict[asyncio.Task[Any], MessageStream] = {}
        self._pending = 0

    async def wait_for_peers(self, show: Callable[[str], None]) -> Agreement:
        """Wait until every follower is connected and idle, then start an epoch. Raises UsageError or PortError."""
        if self._server is None:
            await self._wait_for_name(show)
            self._server = await self._listen()
        while missing := self._missing():
            show(msg("Waiting for {missing}", missing=joined(", ", missing)))
            self._changed.clear()
            await self._changed.wait()
        self._failure = asyncio.get_running_loop().create_future()
        for node in self._nodes.values():
            node.idle = False
            node.connection.send(Begin(self._agreement))
        return self._agreement

    @property
    def has_missing_nodes(self) -> bool:
        """True while at least one follower is disconnected."""
        return len(self._nodes) < self._group.nodes - 1

    async def wait_for_failure(self) -> NoReturn:
        """Wait until a follower is lost or reports a failure. Raises EngineError with the node and its reason."""
        assert self._failure is not None
        raise await asyncio.shield(self._failure)

    async def root_cause(self, error: EngineError) -> EngineError:
        """Return a follower's failure if one is known within ROOT_CAUSE_SECONDS, or `error` of the local engine."""
        if self._failure is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROOT_CAUSE_SECONDS):
                    return await asyncio.shield(self._failure)
        return error

    def end_epoch(self, error: MariTalkError) -> None:
        """End the epoch: every follower that is not idle stops its workers."""
        self._failure = None
        for node in self._nodes.values():
            if not node.idle:
                node.connection.send(End(ErrorReport.of(error)))

    def report_idle(self) -> None:
        """Do nothing: the leader waits for the followers."""

    async def wait_until_released(self) -> None:
        """Return at once: the API process of the leader drains its in-flight requests itself."""

    async def close(self) -> None:
        """Close all connections, upon which the followers stop their workers."""
        if self._server is not None:
            self._server.close()
        for stream in self._streams.values():
            stream.close()
        if self._streams:
            await asyncio.wait(list(self._streams), timeout=_CLOSE_SECONDS)

    async def _wait_for_name(self, show: Callable[[str], None]) -> None:
        """Wait until `head` resolves: in a cluster, DNS may know a machine's own name only after the machine starts."""
        # In a thread, since a slow DNS server must not delay heartbeats and messages.
        while not await asyncio.to_thread(check_head_is_local, self._group):
            show(msg("Waiting for the name {name} to be known", name=self._group.head))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> asyncio.Server:
        port = self._group.control_port
        try:
            # On no other address: without a secret, any host that connects can act as a node.
            return await asyncio.start_server(self._accept, self._group.head, port)
        except OSError as error:
            raise PortError(
                msg(
                    "Node 0 cannot listen for the other nodes on port {port}: {reason}.",
                    port=port,
                    reason=error.strerror,
                ),
                "Choose another PORT with --head ADDRESS:PORT; the nodes use the port after it.",
            ) from error

    def _missing(self) -> list[str]:
        """Return the followers that are not connected or not idle, each with its last address, for display."""
        ranks = (rank for rank in range(1, self._group.nodes) if rank not in self._nodes or not self._nodes[rank].idle)
        addresses = self._last_addresses
        return [
            msg("node {number} ({address})", number=rank, address=addresses[rank])
            if rank in addresses
            else msg("node {number}", number=rank)
            for rank in ranks
        ]

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._pending >= _MAX_PENDING:
            writer.close()
            return
        stream = MessageStream(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._streams[task] = stream
        try:
            self._pending += 1
            try:
                node = await self._admit(stream)
            finally:
                self._pending -= 1
            if node is not None:
                await self._receive_from(node)
        finally:
            stream.close()
            del self._streams[task]

    async def _admit(self, stream: MessageStream) -> _Node | None:
        """Complete the handshake and return the follower; None if it is rejected, after sending it the reason."""
        nonce = new_nonce()
        stream.send(RECEPTION, Challenge(nonce))
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                hello = await stream.receive(HELLO)
        except (ConnectionLost, TimeoutError):
            return None
        except MessageError as error:
            _log.warning("The host at %s is no node: %s", stream.peer, error.message)
            return None
        rank = hello.rank
        if refusal := self._authentication_error(hello, nonce) or self._terms_error(hello):
            _log.warning("The node at %s is refused: %s", stream.peer, refusal.message)
            stream.send(RECEPTION, Refused(ErrorReport.of(refusal)))
            return None
        stream.send(RECEPTION, Welcome(self._proof(LEADER, hello, nonce)))
        if (other := self._nodes.get(rank)) is not None:
            stream.send(FROM_LEADER, Taken(other.connection.peer))
            return None
        node = self._nodes[rank] = _Node(rank, ControlConnection(stream, TO_LEADER, FROM_LEADER))
        self._last_addresses[rank] = stream.peer
        self._changed.set()
        return node

    def _proof(self, role: str, hello: Hello, leader_nonce: str) -> str | None:
        """Return the proof of `role` in the handshake with this hello; None without a secret."""
        if self._group.secret is None or hello.nonce is None:
            return None
        return proof(self._group.secret, role, hello.rank, leader_nonce, hello.nonce)

    def _authentication_error(self, hello: Hello, leader_nonce: str) -> UsageError | None:
        """Return why the proof in `hello` does not authenticate the follower; None if it does."""
        if self._group.secret is None:
            if hello.proof is None:
                return None
            return UsageError(msg("Node {number} has a secret, and node 0 has none.", number=hello.rank), _SAME_SECRET)
        if hello.proof is None:
            return UsageError(msg("Node {number} has no secret, and node 0 has one.", number=hello.rank), _SAME_SECRET)
        expected = self._proof(FOLLOWER, hello, leader_nonce)
        if expected is None or not is_proof(hello.proof, expected):
            return UsageError(msg("Node {number} has another secret than node 0.", number=hello.rank), _SAME_SECRET)
        return None

    def _terms_error(self, hello: Hello) -> MariTalkError | None:
        """Return why the follower does not belong to this group; None if it does."""
        if error := find_mismatch(hello.rank, hello.terms, self._info):
            return error
        if hello.rank < self._group.nodes:
            return None
        return UsageError(
            msg(
                "Node {number} is out of range: node 0 has --nodes {nodes}.", number=hello.rank, nodes=self._group.nodes
            ),
            "Give --nodes on every node, and --node-rank 0 on the one that answers.",
        )

    async def _receive_from(self, node: _Node) -> None:
        """Handle a follower's messages until its connection is lost."""
        try:
            while True:
                self._handle(node, await node.connection.receive())
        except ConnectionLost as lost:
            self._fail(NodeLost.from_disconnect(node.rank, node.connection.peer, lost))
        finally:
            node.connection.close()
            del self._nodes[node.rank]
            self._changed.set()

    def _handle(self, node: _Node, message: FromFollower) -> None:
        match message:
            case Idle():
                node.idle = True
                self._changed.set()
            case WorkersFailed(error):
                self._fail(
                    EngineError(
                        msg(
                            "Node {number} ({address}): {what}",
                            number=node.rank,
                            address=node.connection.peer,
                            what=error.message,
                        ),
                        error.hint,
                    )
                )
            case _:
                assert_never(message)

    def _fail(self, error: EngineError) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)
