"""The follower's side of a group: a control connection to the leader, which starts and ends each epoch."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NoReturn

from ...errors import EngineError, MariTalkError, UsageError, to_message
from .cluster_config import ClusterConfig
from .compatibility import Compatibility
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

_CONNECT_SECONDS = 3.0
_RETRY_SECONDS = 1.0
_NEXT_ADDRESS_SECONDS = 0.25


class Follower:
    """Coordinator of a follower. It tries to connect to the leader without a time limit, and follows its messages."""

    counts_restarts = False
    has_missing_nodes = False

    def __init__(self, group: ClusterConfig, info: Compatibility) -> None:
        """`info`: this node's values, which the leader compares with its own."""
        self._group = group
        self._info = info
        self._connection: ControlConnection | None = None
        self._in_epoch = False
        self._expected_proof = ""

    async def wait_for_peers(self, show: Callable[[str], None]) -> Message:
        """Wait until the leader starts an epoch; return its message. Raises the error with which it rejects this node.

        Raises UsageError if the leader does not prove that it has the group's secret.
        """
        while True:
            connection = await self._connect(show)
            try:
                message = await connection.receive()
            except ConnectionLost:
                self._disconnect()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            event = message.get("event")
            if event == "refused" and (error := parse_error(message)) is not None:
                raise error
            if event == "welcome":
                connection.is_known = self._is_authentic(message)
            elif event in ("begin", "taken") and not connection.is_known:
                raise UsageError(
                    f"Node 0 at {self._group.head} does not prove that it has this node's secret.",
                    "Give every node the same --nodes-secret-file, or none.",
                )
            elif event == "begin" and _has_valid_length(message):
                self._in_epoch = True
                return message
            elif event == "taken":
                show(f"Waiting for node 0, which has a node {self._group.rank} at {message.get('by')}")
                self._disconnect()
                await asyncio.sleep(_RETRY_SECONDS)

    async def wait_for_failure(self) -> NoReturn:
        """Wait until the leader ends the epoch or is lost. Raises NodeLost with the reason."""
        assert self._connection is not None
        try:
            while (message := await self._connection.receive()).get("event") != "end":
                pass
        except ConnectionLost as lost:
            self._disconnect()
            self._in_epoch = False
            raise NodeLost.from_disconnect(0, self._group.head, lost) from lost
        error = parse_error(message)
        raise NodeLost(f"Node 0 starts the engine again. {error.message if error else ''}".rstrip())

    async def root_cause(self, error: EngineError) -> EngineError:
        """Return the leader's reason if it ends the epoch within ROOT_CAUSE_SECONDS, or `error` of this node."""
        if not self._in_epoch:
            return error
        try:
            async with asyncio.timeout(ROOT_CAUSE_SECONDS):
                await self.wait_for_failure()
        except TimeoutError:
            return error
        except NodeLost as lost:
            return lost

    def end_epoch(self, error: MariTalkError) -> None:
        """Report to the leader that this node's workers failed, unless `error` came from the leader itself."""
        self._in_epoch = False
        if self._connection is not None and not isinstance(error, NodeLost):
            self._connection.send({"event": "failed", **to_message(error)})

    def report_idle(self) -> None:
        """Report that this node's workers have exited, and that it can start the next epoch."""
        self._in_epoch = False
        if self._connection is not None:
            self._connection.send({"event": "idle"})

    async def wait_until_released(self) -> None:
        """Wait until the leader ends the epoch; return at once outside an epoch."""
        if self._in_epoch and self._connection is not None:
            with contextlib.suppress(NodeLost):
                await self.wait_for_failure()

    async def close(self) -> None:
        """Disconnect, from which the leader learns that this node is lost."""
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _connect(self, show: Callable[[str], None]) -> ControlConnection:
        """Return a connection on which the handshake has started."""
        while self._connection is None:
            show(f"Waiting for node 0 at {self._group.head}")
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    streams = await asyncio.open_connection(
                        self._group.head,
                        self._group.control_port,
                        limit=MAX_MESSAGE_BYTES,
                        happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                    )
                connection = ControlConnection(*streams)
            except (OSError, TimeoutError):
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if not await self._send_hello(connection):
                connection.close()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._connection = connection
            show("Waiting for the other nodes")
        return self._connection

    async def _send_hello(self, connection: ControlConnection) -> bool:
        """Answer the leader's challenge with this node's rank and proof; return False if no valid challenge arrives."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                challenge = await connection.receive()
        except (ConnectionLost, TimeoutError):
            return False
        leader_nonce, rank, secret = parse_nonce(challenge), self._group.rank, self._group.secret
        if challenge.get("event") != "challenge" or leader_nonce is None:
            return False
        hello = {"event": "hello", "rank": rank, "terms": self._info}
        if secret is None:
            connection.is_known = True
        else:
            nonce = new_nonce()
            hello |= {"nonce": nonce, "proof": proof(secret, FOLLOWER, rank, leader_nonce, nonce)}
            self._expected_proof = proof(secret, LEADER, rank, leader_nonce, nonce)
        connection.send(hello)
        return True

    def _is_authentic(self, welcome: Message) -> bool:
        return self._group.secret is None or has_proof(welcome, self._expected_proof)


def _has_valid_length(begin: Message) -> bool:
    """Return whether `max_model_len` is a positive integer, or absent."""
    length = begin.get("max_model_len")
    return length is None or (type(length) is int and length > 0)
