"""A line between two nodes, over a real connection: messages, and how soon each side knows that the other is gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from maritalk_vllm.server.cluster import control_connection as module
from maritalk_vllm.server.cluster.control_connection import ConnectionLost, ControlConnection


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[ControlConnection, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A line, and the bare connection at its other end."""
    lines: asyncio.Queue[ControlConnection] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: lines.put_nowait(ControlConnection(*streams)), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    line = await lines.get()
    try:
        yield line, reader, writer
    finally:
        line.close()
        writer.close()
        server.close()


def test_it_beats_and_its_messages_come_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)

    async def scenario() -> None:
        async with connected() as (line, reader, writer):
            assert line.peer == "127.0.0.1"
            for _ in range(3):
                assert await reader.readline() == b'{"event": "beat"}\n'
            writer.write(b'{"event": "beat"}\n{"event": "be')
            await asyncio.sleep(0.05)
            writer.write(b'gin"}\n')
            assert await line.receive() == {"event": "begin"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sent", "how"),
    [
        (None, "it closed its connection"),
        (b"GET / HTTP/1.1\r\n", "it does not follow the nodes' protocol"),
        (b"[1]\n", "it does not follow the nodes' protocol"),
        (b"x" * 100_000, "it does not follow the nodes' protocol"),
    ],
)
def test_an_end_is_noticed_at_once(sent: bytes | None, how: str) -> None:
    async def scenario() -> None:
        async with connected() as (line, _, writer):
            if sent is None:
                writer.close()
            else:
                writer.write(sent)
            with pytest.raises(ConnectionLost, match=how):
                await asyncio.wait_for(line.receive(), 2)

    asyncio.run(scenario())


def test_silence_is_noticed_in_time_and_beats_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.5)

    async def scenario() -> None:
        async with connected() as (line, _, writer):
            clock = asyncio.get_running_loop().time
            receiving = asyncio.create_task(line.receive())
            for _ in range(8):
                writer.write(b'{"event": "beat"}\n')
                await asyncio.sleep(0.1)
            assert not receiving.done()
            silent = clock()
            with pytest.raises(ConnectionLost, match="nothing was heard"):
                await receiving
            assert 0.2 < clock() - silent < 2

    asyncio.run(scenario())
