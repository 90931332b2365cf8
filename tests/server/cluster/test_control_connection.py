"""A control connection over a real socket: messages, heartbeats, and the detection of a lost node."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from maritalk_vllm.server.cluster import control_connection as module
from maritalk_vllm.server.cluster.control_connection import ConnectionLost, ControlConnection


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[ControlConnection, asyncio.StreamReader, asyncio.StreamWriter]]:
    """Yield a control connection, and the plain streams at its other end."""
    connections: asyncio.Queue[ControlConnection] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda *streams: connections.put_nowait(ControlConnection(*streams)), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    connection = await connections.get()
    try:
        yield connection, reader, writer
    finally:
        connection.close()
        writer.close()
        server.close()


def test_heartbeats_are_sent_and_split_messages_are_reassembled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)

    async def scenario() -> None:
        async with connected() as (connection, reader, writer):
            assert connection.peer == "127.0.0.1"
            for _ in range(3):
                assert await reader.readline() == b'{"event": "beat"}\n'
            writer.write(b'{"event": "beat"}\n{"event": "be')
            await asyncio.sleep(0.05)
            writer.write(b'gin"}\n')
            assert await connection.receive() == {"event": "begin"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (None, "it closed its connection"),
        (b"GET / HTTP/1.1\r\n", "it does not follow the nodes' protocol"),
        (b"[1]\n", "it does not follow the nodes' protocol"),
        (b"x" * 100_000, "it does not follow the nodes' protocol"),
    ],
)
def test_closed_or_invalid_connection_is_lost_at_once(sent: bytes | None, reason: str) -> None:
    async def scenario() -> None:
        async with connected() as (connection, _, writer):
            if sent is None:
                writer.close()
            else:
                writer.write(sent)
            with pytest.raises(ConnectionLost, match=reason):
                await asyncio.wait_for(connection.receive(), 2)

    asyncio.run(scenario())


def test_silence_is_detected_and_heartbeats_prevent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.5)

    async def scenario() -> None:
        async with connected() as (connection, _, writer):
            clock = asyncio.get_running_loop().time
            receiving = asyncio.create_task(connection.receive())
            for _ in range(8):
                writer.write(b'{"event": "beat"}\n')
                await asyncio.sleep(0.1)
            assert not receiving.done()
            last_heartbeat = clock()
            with pytest.raises(ConnectionLost, match="nothing was heard"):
                await receiving
            assert 0.2 < clock() - last_heartbeat < 2

    asyncio.run(scenario())
