"""The leader's side of a group: admits followers, starts epochs, and detects lost nodes."""

import asyncio
import contextlib
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ...errors import EngineError, MariTalkError, PortError, UsageError, to_message
from .cluster_config import ClusterConfig, check_head_is_local
from .compatibility import Compatibility, find_mismatch
from .control_connection import (
    MAX_MESSAGE_BYTES,
    ROOT_CAUSE_SECONDS,
    ConnectionLost,
    ControlConnection,
    Message,
    parse_error,
)
from .handshake import FOLLOWER, LEADER, has_proof, new_nonce, parse_nonce, proof
from .node_lost import NodeLost

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
    connection: ControlConnection
    idle: bool = True


class Leader:
    """Coordinator of the leader. It has one control connection for each follower.

    Followers may connect in any order, and reconnect. When all are idle a new epoch starts, in which each loads its
    part of the model. The epoch ends when a node is lost or fails, or when the leader's own engine ends; the next one
    starts when all are idle again.
    """

    counts_restarts = True

    def __init__(self, group: ClusterConfig, info: Compatibility, agreed: Message) -> None:
        """`info`: this node's values, which followers must match; `agreed`: values sent to them as an epoch starts."""
        self._group = group
        self._info = info
        self._agreed = agreed
        self._nodes: dict[int, _Node] = {}
        self._last_addresses: dict[int, str] = {}
        self._changed = asyncio.Event()
        self._failure: asyncio.Future[EngineError] | None = None
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], ControlConnection] = {}
        self._pending = 0

    async def wait_for_peers(self, show: Callable[[str], None]) -> Message:
        """Wait until every follower is connected and idle, then start an epoch. Raises UsageError or PortError."""
        if self._server is None:
            await self._wait_for_name(show)
            self._server = await self._listen()
        while missing := self._missing():
            show(f"Waiting for {', '.join(missing)}")
            self._changed.clear()
            await self._changed.wait()
        self._failure = asyncio.get_running_loop().create_future()
        for node in self._nodes.values():
            node.idle = False
            node.connection.send({"event": "begin", **self._agreed})
        return self._agreed

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
                node.connection.send({"event": "end", **to_message(error)})

    def report_idle(self) -> None:
        """Do nothing: the leader waits for the followers."""

    async def wait_until_released(self) -> None:
        """Return at once: the API process of the leader drains its in-flight requests itself."""

    async def close(self) -> None:
        """Close all connections, upon which the followers stop their workers."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections.values():
            connection.close()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=_CLOSE_SECONDS)

    async def _wait_for_name(self, show: Callable[[str], None]) -> None:
        """Wait until `head` resolves: in a cluster, DNS may know a machine's own name only after the machine starts."""
        # In a thread, since a slow DNS server must not delay heartbeats and messages.
        while not await asyncio.to_thread(check_head_is_local, self._group):
            show(f"Waiting for the name {self._group.head} to be known")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self) -> asyncio.Server:
        port = self._group.control_port
        try:
            # On no other address: without a secret, any host that connects can act as a node.
            return await asyncio.start_server(self._accept, self._group.head, port, limit=MAX_MESSAGE_BYTES)
        except OSError as error:
            raise PortError(
                f"Node 0 cannot listen for the other nodes on port {port}: {error.strerror}.",
                "Choose another with --head ADDRESS:PORT, of which it is the next.",
            ) from error

    def _missing(self) -> list[str]:
        """Return the followers that are not connected or not idle, each with its last address, for display."""
        ranks = (rank for rank in range(1, self._group.nodes) if rank not in self._nodes or not self._nodes[rank].idle)
        addresses = self._last_addresses
        return [f"node {rank} ({addresses[rank]})" if rank in addresses else f"node {rank}" for rank in ranks]

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._pending >= _MAX_PENDING:
            writer.close()
            return
        connection = ControlConnection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = connection
        try:
            self._pending += 1
            try:
                node = await self._admit(connection)
            finally:
                self._pending -= 1
            if node is not None:
                await self._receive_from(node)
        finally:
            connection.close()
            del self._connections[task]

    async def _admit(self, connection: ControlConnection) -> _Node | None:
        """Complete the handshake and return the follower; None if it is rejected, after sending it the reason."""
        nonce = new_nonce()
        connection.send({"event": "challenge", "nonce": nonce})
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                hello = await connection.receive()
        except (ConnectionLost, TimeoutError):
            return None
        rank = hello.get("rank")
        # Not isinstance: True is an int too.
        if hello.get("event") != "hello" or type(rank) is not int or not 0 < rank < self._group.nodes:
            return None
        follower_nonce, info = parse_nonce(hello), hello.get("terms")
        error: MariTalkError | None = self._authentication_error(hello, rank, nonce, follower_nonce)
        if error is None and self._group.secret is not None and follower_nonce is not None:
            welcome = proof(self._group.secret, LEADER, rank, nonce, follower_nonce)
            connection.send({"event": "welcome", "proof": welcome})
        if error is None and (other := self._nodes.get(rank)) is not None:
            connection.send({"event": "taken", "by": other.connection.peer})
            return None
        if error := error or find_mismatch(rank, info if isinstance(info, dict) else {}, self._info):
            _log.warning("The node at %s is refused: %s", connection.peer, error.message)
            connection.send({"event": "refused", **to_message(error)})
            return None
        connection.is_known = True
        node = self._nodes[rank] = _Node(rank, connection)
        self._last_addresses[rank] = connection.peer
        self._changed.set()
        return node

    def _authentication_error(
        self, hello: Message, rank: int, leader_nonce: str, follower_nonce: str | None
    ) -> UsageError | None:
        """Return why the proof in `hello` does not authenticate the follower; None if it does."""
        secret = self._group.secret
        if secret is None:
            if "proof" not in hello:
                return None
            return UsageError(f"Node {rank} has a secret, and node 0 has none.", _SAME_SECRET)
        if "proof" not in hello:
            return UsageError(f"Node {rank} has no secret, and node 0 has one.", _SAME_SECRET)
        if follower_nonce is None or not has_proof(hello, proof(secret, FOLLOWER, rank, leader_nonce, follower_nonce)):
            return UsageError(f"Node {rank} has another secret than node 0.", _SAME_SECRET)
        return None

    async def _receive_from(self, node: _Node) -> None:
        """Handle a follower's messages until its connection is lost."""
        try:
            while True:
                self._handle(node, await node.connection.receive())
        except ConnectionLost as lost:
            self._fail(NodeLost.from_disconnect(node.rank, node.connection.peer, lost))
        finally:
            del self._nodes[node.rank]
            self._changed.set()

    def _handle(self, node: _Node, message: dict[str, Any]) -> None:
        match message.get("event"):
            case "idle":
                node.idle = True
                self._changed.set()
            case "failed":
                if (error := parse_error(message)) is None:
                    return
                self._fail(EngineError(f"Node {node.rank} ({node.connection.peer}): {error.message}", error.hint))

    def _fail(self, error: EngineError) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_result(error)
