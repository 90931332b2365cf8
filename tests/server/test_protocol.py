"""Clients that keep a connection to themselves: how long they may take, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from maritalk_vllm.server import protocol
from maritalk_vllm.server.listener import listen, local_url
from maritalk_vllm.server.protocol import PatientProtocol
from maritalk_vllm.server.web import WebServer
from tests.server.wire import Wire, wire


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once, whatever is still to come; at /read when it has come."""
    while scope["path"] == "/read" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Wire]:
    listener = listen("127.0.0.1", 0)
    web = uvicorn.Config(refusing, http=PatientProtocol, lifespan="off", log_config=None, timeout_keep_alive=60)
    server = WebServer(web)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with wire(local_url(listener)) as line:
            yield line
    finally:
        server.should_exit = True
        await task


async def drip(line: Wire, piece: bytes) -> None:
    """A little, again and again, until the server has enough of it."""
    with contextlib.suppress(OSError):
        while True:
            await line.send(piece)
            await asyncio.sleep(0.02)


async def assert_closed(line: Wire) -> None:
    # Reset, where something was on its way.
    with contextlib.suppress(ConnectionError):
        assert await line.rest() == b""


@pytest.mark.parametrize("begins", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, begins: bytes) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as line:
            await line.send(begins)
            dripping = asyncio.create_task(drip(line, begins and b"x"))
            await assert_closed(line)
            dripping.cancel()

    asyncio.run(scenario())


def test_nor_is_the_rest_of_what_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, anybody could hold a connection with a byte now and then."""
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as line:
            await line.ask("POST", "/", "Content-Length: 1000000000", body=b"x")
            assert (await line.reply()).status == 401
            dripping = asyncio.create_task(drip(line, b"x"))
            await assert_closed(line)
            dripping.cancel()

    asyncio.run(scenario())


def test_a_rest_that_comes_in_time_leaves_the_connection_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.5)

    async def scenario() -> None:
        async with connected() as line:
            await line.ask("POST", "/", "Content-Length: 4", body=b"x")
            assert (await line.reply()).status == 401
            await line.send(b"xxx")
            # Kept for the next request, for as long as such connections are.
            await asyncio.sleep(0.6)
            await line.ask("GET", "/", "Connection: close")
            assert (await line.rest()).endswith(b"no")

    asyncio.run(scenario())


def test_a_body_that_is_read_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # How long is for those who read it to say.
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(protocol, "REST_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as line:
            # Two at once: the second's body is no rest of the first.
            await line.ask("POST", "/", "Content-Length: 1", body=b"x")
            await line.ask("POST", "/read", "Content-Length: 2", body=b"x")
            assert (await line.reply()).body == b"no"
            await asyncio.sleep(0.4)
            await line.send(b"x")
            assert (await line.reply()).body == b"no"

    asyncio.run(scenario())
