"""What clients do with a connection, over real sockets: take their time, or offer another protocol."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.http import client_limits
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.http.protocol import HttpProtocol
from maritalk_vllm.http.uvicorn_server import WebServer, config
from tests.server.wire import Wire, until, wire


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once, even if more is to come; at /read when it has come."""
    while scope["path"] == "/read" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


class Counting(HttpProtocol):
    """Knows how many bytes came on all connections, and how many of these have ended."""

    received = lost = 0

    def data_received(self, data: bytes) -> None:
        Counting.received += len(data)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        Counting.lost += 1
        super().connection_lost(exc)


async def echoing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the method, the path and the body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    names = {name for name, _ in scope["headers"]}
    body = f"{scope['method']} {scope['path']} ".encode() + body + b" upgrade" * (b"upgrade" in names)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def connected(
    app: ASGIApp = refusing, *, keep_alive: float = 60, protocol: type[HttpProtocol] = Counting
) -> AsyncIterator[Wire]:
    listener = listen("127.0.0.1", 0)
    web = config(app, lifespan="off", timeout_keep_alive=keep_alive)
    web.http = protocol
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
    monkeypatch.setattr(client_limits, "HEADER_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as line:
            await line.send(begins)
            dripping = asyncio.create_task(drip(line, begins and b"x"))
            await assert_closed(line)
            dripping.cancel()

    asyncio.run(scenario())


def test_nor_is_the_rest_of_what_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key, a client could hold a connection with a byte now and then."""
    monkeypatch.setattr(client_limits, "REST_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as line:
            await line.ask("POST", "/", "Content-Length: 1000000000", body=b"x")
            assert (await line.reply()).status == 401
            dripping = asyncio.create_task(drip(line, b"x"))
            await assert_closed(line)
            dripping.cancel()

    asyncio.run(scenario())


def test_a_rest_that_comes_in_time_leaves_the_connection_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(client_limits, "REST_SECONDS", 0.5)

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
    # The application sets the limit.
    monkeypatch.setattr(client_limits, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(client_limits, "REST_SECONDS", 0.2)

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


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
"""As Java's HttpClient and `curl --http2` send it with the first request of a connection."""
FIXED = b"POST /a HTTP/1.1\r\nHost: x\r\n" + OFFER + b"Content-Length: 4\r\n\r\nbody"
CHUNKED = (
    b"PUT /b HTTP/1.1\r\nHost: x\r\n" + OFFER + b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
)
EMPTY = b"GET /c HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n\r\n"
PLAIN = b"POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
ANSWERS = {FIXED: b"POST /a body", CHUNKED: b"PUT /b body", EMPTY: b"GET /c ", PLAIN: b"POST /d 1"}


@pytest.mark.parametrize("asked", [FIXED, CHUNKED, EMPTY], ids=["fixed", "chunked", "empty"])
def test_an_offer_of_another_protocol_is_ignored_wherever_the_request_is_split(asked: bytes) -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            for position in range(1, len(asked) + 1):
                begun = Counting.received
                await line.send(asked[:position])
                await until(lambda: Counting.received - begun == position)  # noqa: B023
                await line.send(asked[position:])
                reply = await line.reply()
                assert (reply.status, reply.body) == (200, ANSWERS[asked]), position

    asyncio.run(scenario())


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_requests_sent_ahead_behind_an_offer_are_answered_in_their_order(piece: int) -> None:
    asked = [FIXED, PLAIN, CHUNKED, EMPTY, FIXED, EMPTY, PLAIN]

    async def scenario() -> None:
        async with connected(echoing) as line:
            data = b"".join(asked)
            for position in range(0, len(data), piece):
                await line.send(data[position : position + piece])
                await asyncio.sleep(0)
            assert [(await line.reply()).body for _ in asked] == [ANSWERS[each] for each in asked]

    asyncio.run(scenario())


def test_a_thousand_offers_in_one_segment() -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(FIXED * 1000)
            for _ in range(1000):
                assert (await line.reply()).body == ANSWERS[FIXED]

    asyncio.run(scenario())


def test_an_offer_that_asks_before_it_sends_its_body_gets_its_100() -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(FIXED.removesuffix(b"body").replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
            assert (await line.reply()).status == 100
            await line.send(b"body")
            assert (await line.reply()).body == ANSWERS[FIXED]

    asyncio.run(scenario())


def test_an_offer_and_close_is_closed() -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(FIXED.replace(b"Upgrade, HTTP2-Settings", b"close, Upgrade, HTTP2-Settings") + PLAIN)
            assert (await line.reply()).body == ANSWERS[FIXED]
            assert await line.rest() == b""

    asyncio.run(scenario())


def test_a_body_with_two_lengths_is_no_request_with_an_offer_either() -> None:
    """What an ordinary request may not have, one with an offer may not have: it could hide a request in its body."""

    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(CHUNKED.replace(OFFER, OFFER + b"Content-Length: 4\r\n"))
            assert (await line.reply()).status == 400
            assert await line.rest() == b""

    asyncio.run(scenario())


def test_what_follows_connect_is_the_next_request() -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(b"CONNECT /e HTTP/1.1\r\nHost: x\r\n\r\n" + PLAIN)
            assert (await line.reply()).body == b"CONNECT /e "
            assert (await line.reply()).body == ANSWERS[PLAIN]

    asyncio.run(scenario())


WEBSOCKET = (
    b"GET /f HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_an_offer_of_a_websocket_is_ignored_too() -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(WEBSOCKET + PLAIN)
            assert [(await line.reply()).body for _ in range(2)] == [b"GET /f ", ANSWERS[PLAIN]]

    asyncio.run(scenario())


def test_a_websocket_is_no_way_to_send_a_body() -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(FIXED.replace(b"h2c", b"websocket"))
            assert (await line.reply()).body == ANSWERS[FIXED]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "asked", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_what_is_no_request_is_refused_in_json(asked: bytes) -> None:
    async def scenario() -> None:
        async with connected(echoing) as line:
            await line.send(asked)
            reply = await line.reply()
            assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
            assert reply.json["error"] == "The request is no valid HTTP/1.1."
            assert await line.rest() == b""

    asyncio.run(scenario())
