"""The follower's side of a group: a control connection to the leader, which starts and ends each epoch."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NoReturn, assert_never

from ...errors import EngineError, MariTalkError, UsageError
from ...i18n.message import msg, sentences
from ..messaging.base_message import MessageError
from ..messaging.error_report import ErrorReport
from .cluster_config import ClusterConfig
from .compatibility import Compatibility
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

_CONNECT_SECONDS = 3.0
_HANDSHAKE_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_NEXT_ADDRESS_SECONDS = 0.25

_log = logging.getLogger(__name__)


class Follower:
    """Coordinator of a follower. It tries to connect to the leader without a time limit, and follows its messages."""

    has_missing_nodes = False

    def __init__(self, group: ClusterConfig, info: Compatibility) -> None:
        """`info`: this node's values, which the leader compares with its own."""
        self._group = group
        self._info = info
        self._connection: ControlConnection[FromLeader, FromFollower] | None = None
        self._in_epoch = False
        self._logged = ""

    async def wait_for_peers(self, show: Callable[[str], None]) -> Agreement:
        """Wait until the leader starts an epoch; return its values. Raises the error with which it rejects this node.

        Raises UsageError if the leader does not prove that it has the group's secret.
        """
        while True:
            connection = await self._connect(show)
            try:
                message = await connection.receive()
            except ConnectionLost:
                await self._retry_later()
                continue
            match message:
                case Begin(agreement):
                    self._in_epoch = True
                    return agreement
                case Taken(by):
                    show(
                        msg(
                            "Waiting for node 0, which has a node {number} at {address}",
                            number=self._group.rank,
                            address=by,
                        )
                    )
                    await self._retry_later()
                case End():  # of an epoch that this node has ended itself
                    pass
                case _:
                    assert_never(message)

    async def wait_for_failure(self) -> NoReturn:
        """Wait until the leader ends the epoch or is lost. Raises NodeLost with the reason."""
        assert self._connection is not None
        try:
            message = await self._connection.receive()
            if not isinstance(message, End):
                unexpected = msg("{message} is not expected now", message=type(message).__name__)
                raise ConnectionLost(msg("it does not follow the nodes' protocol: {problem}", problem=unexpected))
        except ConnectionLost as lost:
            self._disconnect()
            self._in_epoch = False
            raise NodeLost.from_disconnect(0, self._group.head, lost) from lost
        raise NodeLost(sentences("Node 0 starts the engine again.", message.error.to_error().message))

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
            self._connection.send(WorkersFailed(ErrorReport.of(error)))

    def report_idle(self) -> None:
        """Report that this node's workers have exited, and that it can start the next epoch."""
        self._in_epoch = False
        if self._connection is not None:
            self._connection.send(Idle())

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

    async def _retry_later(self, reason: MessageError | None = None) -> None:
        """Disconnect, log a new reason, and wait before the next attempt to connect."""
        self._disconnect()
        if reason is not None and reason.message != self._logged:
            self._logged = reason.message
            _log.warning("What listens at %s is no node 0: %s", self._group.head, reason.message)
        await asyncio.sleep(_RETRY_SECONDS)

    async def _connect(self, show: Callable[[str], None]) -> ControlConnection[FromLeader, FromFollower]:
        """Return a connection to the leader after the handshake. Raises the error with which it rejects this node."""
        while self._connection is None:
            show(msg("Waiting for node 0 at {address}", address=self._group.head))
            try:
                stream = await self._open()
            except (OSError, TimeoutError, ConnectionLost):
                await self._retry_later()
            except MessageError as error:
                await self._retry_later(error)
            else:
                self._connection = ControlConnection(stream, FROM_LEADER, TO_LEADER)
                show("Waiting for the other nodes")
        return self._connection

    async def _open(self) -> MessageStream:
        """Return a connection on which the handshake is complete. Raises OSError, TimeoutError, and as `_join`."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            streams = await asyncio.open_connection(
                self._group.head, self._group.control_port, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS
            )
        with contextlib.ExitStack() as on_error:
            stream = MessageStream(*streams)
            on_error.callback(stream.close)
            async with asyncio.timeout(_HANDSHAKE_SECONDS):
                await self._join(stream)
            on_error.pop_all()
        return stream

    async def _join(self, stream: MessageStream) -> None:
        """Complete the handshake.

        Raises the error with which the leader rejects this node; UsageError if the leader does not have its secret;
        ConnectionLost, and MessageError if the other side is no leader.
        """
        challenge = await stream.receive(RECEPTION)
        if not isinstance(challenge, Challenge):
            raise RECEPTION.error(msg("{message} is not expected now", message=type(challenge).__name__))
        rank, secret, nonce = self._group.rank, self._group.secret, new_nonce()
        hello = Hello(rank=rank, terms=self._info.terms())
        if secret is not None:
            own_proof = proof(secret, FOLLOWER, rank, challenge.nonce, nonce)
            hello = Hello(rank=rank, terms=self._info.terms(), nonce=nonce, proof=own_proof)
        stream.send(HELLO, hello)
        match answer := await stream.receive(RECEPTION):
            case Refused(error):
                raise error.to_error()
            case Welcome(given):
                if secret is not None and not is_proof(given, proof(secret, LEADER, rank, challenge.nonce, nonce)):
                    raise UsageError(
                        msg(
                            "Node 0 at {address} does not prove that it has this node's secret.",
                            address=self._group.head,
                        ),
                        "Give every node the same --nodes-secret-file, or none.",
                    )
            case Challenge():
                raise RECEPTION.error(msg("{message} is not expected now", message=type(answer).__name__))
            case _:
                assert_never(answer)
