"""Slow clients, and offers to upgrade the protocol, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.api.cancellation import ClientDisconnected, cancel_on_disconnect
from maritalk_vllm.http import client_limits
from maritalk_vllm.http.listener import listen, local_url
from maritalk_vllm.http.protocol import HttpProtocol
from maritalk_vllm.http.uvicorn_server import WebServer, config
from tests.server.wire import Wire, until, wire


async def rejecting(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with 401 before the body has arrived; at /read after it."""
    while scope["path"] == "/read" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


class Endless:
    """Streams until its client disconnects; `ended` are the paths of such requests, `tasks` those of requests."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: between the parts of a response."""
        self._seconds = seconds
        self.tasks: set[asyncio.Task[object] | None] = set()
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.tasks.add(asyncio.current_task())
        try:
            await cancel_on_disconnect(scope, receive, self._respond(send))
        except ClientDisconnected:
            self.ended.append(scope["path"])

    async def _respond(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            await asyncio.sleep(self._seconds)


class Counting(HttpProtocol):
    """Counts the bytes received on all connections, and the closed connections."""

    received = lost = 0
    last: "Counting"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counting.last = self
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        Counting.received += len(data)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        Counting.lost += 1
        super().connection_lost(exc)


async def echoing(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the method, the path and the body."""
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
    app: ASGIApp = rejecting, *, keep_alive: float = 60, protocol: type[HttpProtocol] = Counting
) -> AsyncIterator[Wire]:
    listener = listen("127.0.0.1", 0)
    web = config(app, lifespan="off", timeout_keep_alive=keep_alive)
    web.http = protocol
    server = WebServer(web)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with wire(local_url(listener)) as connection:
            yield connection
    finally:
        server.should_exit = True
        await task


async def drip(connection: Wire, piece: bytes) -> None:
    """Send `piece` repeatedly, until the server closes the connection."""
    with contextlib.suppress(OSError):
        while True:
            await connection.send(piece)
            await asyncio.sleep(0.02)


async def assert_closed(connection: Wire) -> None:
    # The connection is reset if data was still arriving.
    with contextlib.suppress(ConnectionError):
        assert await connection.rest() == b""


@pytest.mark.parametrize("begins", [b"", b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_an_incomplete_head_times_out(monkeypatch: pytest.MonkeyPatch, begins: bytes) -> None:
    monkeypatch.setattr(client_limits, "HEADER_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as connection:
            await connection.send(begins)
            dripping = asyncio.create_task(drip(connection, begins and b"x"))
            await assert_closed(connection)
            dripping.cancel()

    asyncio.run(scenario())


def test_the_rest_of_an_answered_request_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a client without a key could keep a connection open by sending a byte now and then."""
    monkeypatch.setattr(client_limits, "DISCARD_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as connection:
            await connection.ask("POST", "/", "Content-Length: 1000000000", body=b"x")
            assert (await connection.reply()).status == 401
            dripping = asyncio.create_task(drip(connection, b"x"))
            await assert_closed(connection)
            dripping.cancel()

    asyncio.run(scenario())


def test_a_rest_that_arrives_in_time_keeps_the_connection_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(client_limits, "DISCARD_SECONDS", 0.5)

    async def scenario() -> None:
        async with connected() as connection:
            await connection.ask("POST", "/", "Content-Length: 4", body=b"x")
            assert (await connection.reply()).status == 401
            await connection.send(b"xxx")
            # The connection stays open for the next request, until the keep-alive timeout.
            await asyncio.sleep(0.6)
            await connection.ask("GET", "/", "Connection: close")
            assert (await connection.rest()).endswith(b"no")

    asyncio.run(scenario())


def test_a_body_that_the_application_reads_has_no_protocol_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    # The application sets its own timeout.
    monkeypatch.setattr(client_limits, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(client_limits, "DISCARD_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected() as connection:
            # Two pipelined requests: the body of the second is not the rest of the first.
            await connection.ask("POST", "/", "Content-Length: 1", body=b"x")
            await connection.ask("POST", "/read", "Content-Length: 2", body=b"x")
            assert (await connection.reply()).body == b"no"
            await asyncio.sleep(0.4)
            await connection.send(b"x")
            assert (await connection.reply()).body == b"no"

    asyncio.run(scenario())


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
"""The headers that Java's HttpClient and `curl --http2` send with the first request of a connection."""
FIXED = b"POST /a HTTP/1.1\r\nHost: x\r\n" + OFFER + b"Content-Length: 4\r\n\r\nbody"
CHUNKED = (
    b"PUT /b HTTP/1.1\r\nHost: x\r\n" + OFFER + b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
)
EMPTY = b"GET /c HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n\r\n"
PLAIN = b"POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
ANSWERS = {FIXED: b"POST /a body", CHUNKED: b"PUT /b body", EMPTY: b"GET /c ", PLAIN: b"POST /d 1"}


@pytest.mark.parametrize("asked", [FIXED, CHUNKED, EMPTY], ids=["fixed", "chunked", "empty"])
def test_an_upgrade_offer_is_ignored_wherever_the_request_is_split(asked: bytes) -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            for position in range(1, len(asked) + 1):
                received_before = Counting.received
                await connection.send(asked[:position])
                await until(lambda: Counting.received - received_before == position)  # noqa: B023
                await connection.send(asked[position:])
                reply = await connection.reply()
                assert (reply.status, reply.body) == (200, ANSWERS[asked]), position

    asyncio.run(scenario())


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_pipelined_requests_with_upgrade_offers_are_answered_in_order(piece: int) -> None:
    asked = [FIXED, PLAIN, CHUNKED, EMPTY, FIXED, EMPTY, PLAIN]

    async def scenario() -> None:
        async with connected(echoing) as connection:
            data = b"".join(asked)
            for position in range(0, len(data), piece):
                await connection.send(data[position : position + piece])
                await asyncio.sleep(0)
            assert [(await connection.reply()).body for _ in asked] == [ANSWERS[each] for each in asked]

    asyncio.run(scenario())


def test_a_thousand_upgrade_offers_in_one_segment() -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(FIXED * 1000)
            for _ in range(1000):
                assert (await connection.reply()).body == ANSWERS[FIXED]

    asyncio.run(scenario())


def test_an_upgrade_offer_with_expect_100_continue_gets_100() -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(FIXED.removesuffix(b"body").replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
            assert (await connection.reply()).status == 100
            await connection.send(b"body")
            assert (await connection.reply()).body == ANSWERS[FIXED]

    asyncio.run(scenario())


def test_an_upgrade_offer_with_connection_close_is_closed() -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(FIXED.replace(b"Upgrade, HTTP2-Settings", b"close, Upgrade, HTTP2-Settings") + PLAIN)
            assert (await connection.reply()).body == ANSWERS[FIXED]
            assert await connection.rest() == b""

    asyncio.run(scenario())


def test_an_upgrade_offer_with_two_body_lengths_is_rejected() -> None:
    """Two lengths are rejected as in any other request: they could hide a request in the body."""

    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(CHUNKED.replace(OFFER, OFFER + b"Content-Length: 4\r\n"))
            assert (await connection.reply()).status == 400
            assert await connection.rest() == b""

    asyncio.run(scenario())


def test_data_after_connect_is_the_next_request() -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(b"CONNECT /e HTTP/1.1\r\nHost: x\r\n\r\n" + PLAIN)
            assert (await connection.reply()).body == b"CONNECT /e "
            assert (await connection.reply()).body == ANSWERS[PLAIN]

    asyncio.run(scenario())


WEBSOCKET = (
    b"GET /f HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_a_websocket_offer_is_ignored() -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(WEBSOCKET + PLAIN)
            assert [(await connection.reply()).body for _ in range(2)] == [b"GET /f ", ANSWERS[PLAIN]]

    asyncio.run(scenario())


def test_a_websocket_offer_does_not_lose_the_body() -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(FIXED.replace(b"h2c", b"websocket"))
            assert (await connection.reply()).body == ANSWERS[FIXED]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "asked", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_an_invalid_request_is_rejected_in_json(asked: bytes) -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(asked)
            reply = await connection.reply()
            assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
            assert reply.json["error"] == "The request is no valid HTTP/1.1."
            assert await connection.rest() == b""

    asyncio.run(scenario())


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_disconnect_ends_the_request_in_progress_without_a_task_that_waits_for_it(
    caplog: pytest.LogCaptureFixture, *, pipelined: bool
) -> None:
    async def scenario() -> None:
        # While another request waits, nothing is read: only the next part of the response shows the disconnect.
        app, before = Endless(0.01 if pipelined else 60), asyncio.all_tasks()
        async with connected(app) as connection:
            await connection.ask("POST", "/first", "Content-Length: 1", body=b"x")
            await until(lambda: app.tasks)
            assert len(asyncio.all_tasks() - before - app.tasks) == 1  # that of the server
            if pipelined:
                await connection.ask("POST", "/second", "Content-Length: 1", body=b"x")
                await until(lambda: Counting.last.has_pipelined)
            connection.disconnect()
            await until(lambda: app.ended)
        assert app.ended == ["/first"]

    asyncio.run(scenario())
    assert not caplog.records


def test_a_disconnect_after_a_large_body_ends_the_request() -> None:
    async def scenario() -> None:
        app, size = Endless(60), 100_000
        async with connected(app) as connection:
            # The application waits for the body, which arrives in one piece.
            await connection.ask("POST", "/", f"Content-Length: {size}")
            await asyncio.sleep(0.05)
            await connection.send(b"x" * size)
            await until(lambda: app.tasks)
            connection.disconnect()
            await until(lambda: app.ended)

    asyncio.run(scenario())


def test_a_message_of_the_disconnect_reaches_a_request_that_another_waits_for() -> None:
    async def scenario() -> None:
        received = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            sending = asyncio.create_task(Endless(0.01)._respond(send))
            received.append((await receive())["type"])
            sending.cancel()

        async with connected(app) as connection:
            for _ in range(2):
                await connection.ask("POST", "/", "Content-Length: 1", body=b"x")
            await until(lambda: Counting.last.has_pipelined)
            connection.disconnect()
            await until(lambda: received)
        assert received == ["http.disconnect"]

    asyncio.run(scenario())
