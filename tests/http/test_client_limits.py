"""Endless requests, over real sockets: everything but the body has a limit, and trailers are not headers."""

import asyncio
import contextlib

import pytest
from starlette.types import Receive, Scope, Send

from maritalk_vllm.http import client_limits
from maritalk_vllm.server.middleware.api_keys import ApiKeys, hash_key
from maritalk_vllm.server.middleware.authentication import Authentication
from tests.http.test_protocol import ANSWERS, PLAIN, Counting, assert_closed, connected, drip, echoing, rejecting
from tests.server.wire import Wire, until

CHUNKED = b"POST /generate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "empty lines": (b"", b"\r\n"),
    "method": (b"", b"POST"),
    "target": (b"GET /", b"x"),
    "query": (b"GET /generate?", b"x=y&"),
    "version": (b"GET / HTTP/1.", b"1"),
    "field's name": (b"POST /generate HTTP/1.1\r\n", b"Name"),
    "field's value": (b"POST /generate HTTP/1.1\r\nName: ", b"value"),
    "spaces before a value": (b"POST /generate HTTP/1.1\r\nName:", b" "),
    "fields": (b"POST /generate HTTP/1.1\r\n", b"Name: value\r\n"),
    "fields of one byte": (b"POST /generate HTTP/1.1\r\n", b"h:\r\n"),
    "long fields": (b"POST /generate HTTP/1.1\r\n", b"Name: " + b"v" * 2000 + b"\r\n"),
    "chunk's extension": (CHUNKED + b"1;", b"name=value;"),
    "quoted extension": (CHUNKED + b'1;name="', b"v"),
    "extensions of later chunks": (CHUNKED + b"5\r\nhello\r\n", b"1;" + b"x" * 1000 + b"\r\ny\r\n"),
    "chunk's size": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"h1: v\r\n"),
    "trailer's name": (CHUNKED + b"0\r\n", b"h1"),
    "trailer's value": (CHUNKED + b"5\r\nhello\r\n0\r\nh1: ", b"v"),
    "after another request": (PLAIN + b"GET / HTTP/1.1\r\n", b"h1: v\r\n"),
    "after an offer": (PLAIN + b"POST /generate HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", b"h1: v\r\n"),
}


async def flood(connection: Wire, begins: bytes, piece: bytes, max_bytes: int = 4_000_000) -> None:
    """Send `begins`, and then `piece` repeatedly, until the server closes the connection or `max_bytes` are sent."""
    with contextlib.suppress(OSError):
        await connection.send(begins)
        block = piece * max(1, 30_011 // len(piece))
        for _ in range(max_bytes // len(block)):
            await connection.send(block)
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_data_is_rejected(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "LINGER_SECONDS", 0.1)

    async def scenario() -> None:
        begins, piece = ENDLESS[kind]
        async with connected(echoing) as connection:
            flooding = asyncio.create_task(flood(connection, begins, piece))
            reply = await connection.reply()
            if begins.startswith(PLAIN):
                assert reply.body == ANSWERS[PLAIN]
                reply = await connection.reply()
            # llhttp itself rejects such a long method or version.
            assert reply.status == (400 if kind in ("method", "version") else 431)
            assert reply.headers["connection"] == "close"
            assert reply.json["error"].startswith("The request")
            await assert_closed(connection)
            flooding.cancel()

    asyncio.run(scenario())


def test_the_limits_of_bytes_and_fields_are_exact() -> None:
    async def status(head: bytes) -> int:
        async with connected(echoing) as connection:
            await connection.send(head)
            return (await connection.reply()).status

    async def scenario() -> None:
        begins, ends = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nName: ", b"\r\n\r\n"
        value = b"v" * (client_limits.HEAD_BYTES - len(begins) - len(ends))
        assert await status(begins + value + ends) == 200
        assert await status(begins + value + b"v" + ends) == 431
        begins, field = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n", b"Name: value\r\n"
        assert await status(begins + field * 99 + b"\r\n") == 200
        assert await status(begins + field * 100 + b"\r\n") == 431
        trailing = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
        assert await status(trailing + field * 98 + b"\r\n") == 200

    asyncio.run(scenario())


TOO_MANY = "The request has more than 100 header fields, this server's limit. Send fewer."


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/generate", TOO_MANY),
        (
            "/v1/models?x",
            {"message": TOO_MANY, "type": "RequestHeaderFieldsTooLargeError", "param": None, "code": 431},
        ),
    ],
)
def test_the_error_has_the_format_of_its_api(path: str, error: object) -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.ask("GET", path, *["Name: value"] * 100)
            reply = await connection.reply()
            assert (reply.status, reply.json) == (431, {"error": error})
            assert await connection.rest() == b""

    asyncio.run(scenario())


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"00000001\r\nx\r\n", b"1;n=v\r\nx\r\n"])
def test_a_body_in_chunks_of_one_byte_is_accepted(chunk: bytes) -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            for _ in range(2):
                await connection.send(CHUNKED + chunk * 50_000 + b"0\r\n\r\n")
                assert (await connection.reply()).body == b"POST /generate " + b"x" * 50_000

    asyncio.run(scenario())


def test_a_long_body_does_not_raise_the_limit_of_trailers() -> None:
    async def scenario() -> None:
        async with connected(echoing) as connection:
            await connection.send(CHUNKED + b"F4240\r\n" + b"x" * 1_000_000 + b"\r\n0\r\nh1: ")
            flooding = asyncio.create_task(flood(connection, b"", b"v"))
            assert (await connection.reply()).status == 431
            flooding.cancel()

    asyncio.run(scenario())


def test_endless_trailers_after_a_response_close_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "LINGER_SECONDS", 0.1)

    async def scenario() -> None:
        async with connected(rejecting) as connection:
            await connection.send(CHUNKED)
            assert (await connection.reply()).status == 401
            flooding = asyncio.create_task(flood(connection, b"0\r\n", b"h1: v\r\n"))
            assert (await connection.reply()).status == 431
            await assert_closed(connection)
            flooding.cancel()

    asyncio.run(scenario())


def test_earlier_requests_are_answered_before_the_error() -> None:
    async def scenario() -> None:
        may_continue = asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/d":
                await may_continue.wait()
            await echoing(scope, receive, send)

        for begins in (b"GET / HTTP/1.1\r\n", CHUNKED + b"1\r\nx\r\n0\r\n"):
            may_continue.clear()
            async with connected(slow) as connection:
                received_before = Counting.received
                flooding = asyncio.create_task(flood(connection, PLAIN * 2 + begins, b"h1: v\r\n"))
                await until(lambda: Counting.received - received_before > 10_000)  # noqa: B023
                may_continue.set()
                replies = [await connection.reply() for _ in range(3)]
                assert [reply.status for reply in replies] == [200, 200, 431], begins
                assert replies[1].body == ANSWERS[PLAIN]
                flooding.cancel()

    asyncio.run(scenario())


def test_pipelined_requests_wait_unparsed() -> None:
    """Each parsed request would start a waiting application, for 50 bytes that the client sends."""

    async def scenario() -> None:
        may_continue, seen = asyncio.Event(), 0

        class Seeing(Counting):
            def on_headers_complete(self) -> None:
                nonlocal seen
                seen += 1
                super().on_headers_complete()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            await may_continue.wait()
            await echoing(scope, receive, send)

        async with connected(slow, protocol=Seeing) as connection:
            received, count = Counting.received, 50_000
            sending = asyncio.create_task(connection.send(PLAIN * count))
            await until(lambda: Counting.received - received > 100 * 1024)
            await asyncio.sleep(0.1)
            assert 1 < seen < 200
            may_continue.set()
            for _ in range(1000):
                assert (await connection.reply()).body == ANSWERS[PLAIN]
            sending.cancel()

    asyncio.run(scenario())


def test_a_trailer_is_not_a_header() -> None:
    key = "chave-1"

    async def names(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        body = b" ".join(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    trailer = f"Authorization: Bearer {key}\r\nHost: evil\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n".encode()

    async def scenario() -> None:
        async with connected(names) as connection:
            await connection.send(CHUNKED + b"1\r\nx\r\n0\r\n" + trailer + PLAIN)
            assert (await connection.reply()).body == b"host transfer-encoding"
            # It is not a header of the next request either.
            assert (await connection.reply()).body == b"host content-length"
        async with connected(Authentication(names, ApiKeys([hash_key(key)]))) as connection:
            await connection.send(CHUNKED + b"1\r\nx\r\n0\r\n" + trailer)
            assert (await connection.reply()).status == 401

    asyncio.run(scenario())


def test_empty_lines_do_not_keep_an_idle_connection_open() -> None:
    async def scenario() -> None:
        async with connected(echoing, keep_alive=0.3) as connection:
            await connection.send(PLAIN)
            assert (await connection.reply()).status == 200
            dripping = asyncio.create_task(drip(connection, b"\r\n"))
            await assert_closed(connection)
            dripping.cancel()

    asyncio.run(scenario())


def test_an_idle_connection_closes_after_a_late_rest_of_a_body() -> None:
    async def scenario() -> None:
        async with connected(rejecting, keep_alive=0.3) as connection:
            await connection.ask("POST", "/", "Content-Length: 4", body=b"x")
            assert (await connection.reply()).status == 401
            await connection.send(b"xxx")
            await assert_closed(connection)

    asyncio.run(scenario())


async def long(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with more than the kernel buffers for a client that reads nothing."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % (64 << 20))]})
    if scope["path"] == "/pieces":
        for _ in range(1023):
            await send({"type": "http.response.body", "body": bytes(64 << 10), "more_body": True})
        await send({"type": "http.response.body", "body": bytes(64 << 10)})
    else:
        await send({"type": "http.response.body", "body": bytes(64 << 20)})


@pytest.mark.parametrize("path", ["/pieces", "/whole"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_client_that_reads_nothing_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, path: str, connection: str
) -> None:
    monkeypatch.setattr(client_limits, "WRITE_STALL_SECONDS", 0.2)

    async def scenario() -> None:
        async with connected(long) as connection:
            lost = Counting.lost
            await connection.ask("GET", path, f"Connection: {connection}")
            await until(lambda: Counting.lost > lost)

    asyncio.run(scenario())


def test_a_client_that_reads_slowly_stays_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "WRITE_STALL_SECONDS", 0.5)

    async def scenario() -> None:
        async with connected(long) as connection:
            await connection.ask("GET", "/whole", "Connection: close")
            received = 0
            for _ in range(16):
                received += len(await connection.exactly(2 << 20))
                await asyncio.sleep(0.1)
            received += len(await connection.rest())
            assert received > 64 << 20

    asyncio.run(scenario())
