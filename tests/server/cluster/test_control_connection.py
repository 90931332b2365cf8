"""A control connection over a real socket: messages, heartbeats, and the detection of a lost node."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from maritalk_vllm.server.cluster import control_connection as module
from maritalk_vllm.server.cluster.control_connection import ControlConnection
from maritalk_vllm.server.cluster.message_stream import ConnectionLost, MessageStream
from maritalk_vllm.server.cluster.node_messages import (
    FROM_LEADER,
    NODE_MESSAGE_BYTES,
    TO_LEADER,
    FromFollower,
    FromLeader,
    Heartbeat,
    Idle,
    WorkersFailed,
)
from maritalk_vllm.server.messaging.base_message import MessageError
from maritalk_vllm.server.messaging.error_report import ErrorReport
from tests.server.cluster.groups import Peer
from tests.server.messaging.samples import frame

Connection = ControlConnection[FromFollower, FromLeader]

HEARTBEAT = TO_LEADER.frame(Heartbeat())


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, Peer]]:
    """Yield a control connection of the leader, and its other end."""
    accepted: asyncio.Queue[MessageStream] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: accepted.put_nowait(MessageStream(*streams)), "127.0.0.1", 0)
    peer = Peer(*await asyncio.open_connection(*server.sockets[0].getsockname()[:2]))
    connection: Connection = ControlConnection(await accepted.get(), TO_LEADER, FROM_LEADER)
    try:
        yield connection, peer
    finally:
        connection.close()
        peer.close()
        server.close()


def test_heartbeats_are_sent_and_split_messages_are_reassembled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    message = HEARTBEAT + TO_LEADER.frame(Idle())

    async def scenario() -> None:
        async with connected() as (connection, peer):
            assert connection.peer == "127.0.0.1"
            for _ in range(3):
                assert await peer.receive(FROM_LEADER) == Heartbeat()
            for cut in range(1, len(message)):
                peer.write(message[:cut])
                await asyncio.sleep(0.005)
                peer.write(message[cut:])
                assert await connection.receive() == Idle()

    asyncio.run(scenario())


def test_a_cancelled_receive_loses_nothing() -> None:
    """The next one continues, wherever the first was in a message."""
    message = TO_LEADER.frame(Idle())

    async def scenario() -> None:
        async with connected() as (connection, peer):
            for cut in range(len(message)):
                peer.write(message[:cut])
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await connection.receive()
                peer.write(message[cut:])
                assert await connection.receive() == Idle()

    asyncio.run(scenario())


PROTOCOL = "it does not follow the nodes' protocol: "


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "it closed its connection"),
        (b"\0\0", "it closed its connection within a message"),
        (HEARTBEAT[:-1], "it closed its connection within a message"),
        (HEARTBEAT + b"\0\0\0\x01", "it closed its connection within a message"),
        (b"GET / HTTP/1.1\r\n", PROTOCOL + "it has 1195725856 bytes, over the limit of 16777216"),
        (frame(b"\x81\xa4type\xa5Begin"), PROTOCOL + "its type 'Begin' is unknown"),
        (frame(b"\x81\xa4type\xadWorkersFailed"), PROTOCOL + "WorkersFailed: Object missing required field `error`"),
        (frame(b"\x82\xa4type\xa4Idle\xa1x\xc0"), PROTOCOL + "Idle: Object contains unknown field `x`"),
        (frame(b"\x91\x01"), PROTOCOL + "Expected `object`, got `array`"),
        (frame(b""), PROTOCOL + "Input data was truncated"),
    ],
)
def test_a_closed_or_invalid_connection_is_lost_at_once(sent: bytes, reason: str) -> None:
    async def scenario() -> None:
        async with connected() as (connection, peer):
            await peer.receive(FROM_LEADER)  # otherwise, the close resets the connection
            peer.write(sent)
            if not reason.startswith(PROTOCOL):
                peer.close()
            with pytest.raises(ConnectionLost) as caught:
                await asyncio.wait_for(connection.receive(), 2)
            assert str(caught.value) == reason

    asyncio.run(scenario())


def test_a_message_of_any_length_up_to_the_limit_arrives() -> None:
    """A StreamReader's own limit is 64 KiB."""

    async def scenario() -> None:
        async with connected() as (connection, peer):
            for size in (65_535, 70_000, 5_000_000):
                message = WorkersFailed(ErrorReport("EngineError", "a" * size))
                peer.send(TO_LEADER, message)
                assert await connection.receive() == message
            with pytest.raises(MessageError, match=f"over the limit of {NODE_MESSAGE_BYTES}"):
                peer.send(TO_LEADER, WorkersFailed(ErrorReport("EngineError", "a" * NODE_MESSAGE_BYTES)))
            peer.send(TO_LEADER, Idle())
            assert await connection.receive() == Idle()

    asyncio.run(scenario())


def test_silence_is_detected_and_heartbeats_prevent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.5)

    async def scenario() -> None:
        async with connected() as (connection, peer):
            receiving = asyncio.create_task(connection.receive())
            for _ in range(8):
                peer.write(HEARTBEAT)
                await asyncio.sleep(0.1)
            assert not receiving.done()
            last_heartbeat = time.monotonic()
            with pytest.raises(ConnectionLost, match="no message from it"):
                await receiving
            assert 0.2 < time.monotonic() - last_heartbeat < 2

    asyncio.run(scenario())
