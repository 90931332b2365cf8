"""Request bodies, over real sockets: too long, too slow, incomplete, and as the application gets valid ones."""

import asyncio
import contextlib
import gzip
import http.client
import zlib
from collections.abc import Callable
from itertools import product
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from maritalk_vllm.http import client_limits
from maritalk_vllm.server.middleware.body_limits import BodyLimits
from tests.server.loading.test_loading_app import running
from tests.server.wire import TIMEOUT_SECONDS, until, wire

MAX_BYTES = 1000


class Inside:
    """The inner application. It responds with the length of the body; at /wait it waits for the disconnect."""

    def __init__(self) -> None:
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.received.append(await receive())
        if scope["path"] == "/wait":
            self.received.append(await receive())
            return
        length = str(len(self.received[-1]["body"])).encode()
        headers = [(b"content-length", str(len(length)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": length})


def whole(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": False}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = "Transfer-Encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def test_the_application_gets_the_complete_body_however_it_was_sent() -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MAX_BYTES)) as url, wire(url) as connection:
            await connection.ask("GET", "/")
            assert (await connection.reply()).body == b"0"
            await connection.ask("POST", "/", "Content-Length: 0")
            assert (await connection.reply()).body == b"0"
            await connection.ask("POST", "/", "Content-Length: 6", body=b"ab")
            for piece in (b"c", b"de", b"f"):
                await asyncio.sleep(0.02)
                await connection.send(piece)
            assert (await connection.reply()).body == b"6"
            await connection.ask("POST", "/", CHUNKED, body=chunk(b"ab"))
            for piece in (chunk(b"cd")[:4], chunk(b"cd")[4:], chunk(b"ef"), LAST_CHUNK):
                await asyncio.sleep(0.02)
                await connection.send(piece)
            assert (await connection.reply()).body == b"6"
        assert inside.received == [whole(b""), whole(b""), whole(b"abcdef"), whole(b"abcdef")]

    asyncio.run(scenario())


def test_a_long_body_arrives_complete() -> None:
    async def scenario() -> None:
        inside, body = Inside(), bytes(range(256)) * 20_000
        async with running(BodyLimits(inside, len(body))) as url, httpx.AsyncClient() as client:
            assert (await client.post(url, content=body)).text == str(len(body))
        assert inside.received == [whole(body)]

    asyncio.run(scenario())


def test_the_application_is_notified_of_a_disconnect() -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MAX_BYTES)) as url, wire(url) as connection:
            await connection.ask("POST", "/wait", "Content-Length: 1", body=b"x")
            await until(lambda: inside.received)
            connection.disconnect()
            await until(lambda: len(inside.received) == 2)
        assert inside.received == [whole(b"x"), {"type": "http.disconnect"}]

    asyncio.run(scenario())


UNFINISHED = [("Content-Length: 10", b""), ("Content-Length: 10", b"x"), (CHUNKED, b""), (CHUNKED, chunk(b"x"))]


def test_a_request_whose_client_disconnects_during_the_body_is_dropped() -> None:
    async def scenario() -> None:
        inside, ended = Inside(), []

        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            await BodyLimits(inside, MAX_BYTES)(scope, receive, send)
            ended.append(scope)

        def beyond(number: int) -> Callable[[], bool]:
            return lambda: len(ended) > number

        async with running(layer) as url:
            for number, (encoding, begins) in enumerate(UNFINISHED):
                async with wire(url) as connection:
                    await connection.ask("POST", "/generate", encoding, body=begins)
                    await asyncio.sleep(0.05)
                    assert len(ended) == number
                    connection.disconnect()
                    await until(beyond(number))
        assert inside.received == []

    asyncio.run(scenario())


def too_large(path: str) -> tuple[int, dict[str, object]]:
    message = "The request is longer than 1,000 bytes, this server's limit. Send less, or raise --max-body-mb."
    if path == "/generate":
        return 413, {"error": message}
    return 413, {"type": "error", "error": {"type": "request_too_large", "message": message}}


@pytest.mark.parametrize("path", ["/generate", "/v1/messages"])
def test_the_size_limit_is_exact(path: str) -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MAX_BYTES)) as url, wire(url) as connection:

            async def sent(*pieces: bytes, encoding: str = CHUNKED) -> tuple[int, object]:
                await connection.ask("POST", path, encoding)
                for piece in pieces:
                    await connection.send(piece)
                reply = await connection.reply()
                return reply.status, reply.json

            # All on one connection: no part of a rejected request may be taken for the next request.
            assert await sent(b"x" * MAX_BYTES, encoding=f"Content-Length: {MAX_BYTES}") == (200, MAX_BYTES)
            assert await sent(b"x" * (MAX_BYTES + 1), encoding=f"Content-Length: {MAX_BYTES + 1}") == too_large(path)
            assert await sent(chunk(b"x" * MAX_BYTES), LAST_CHUNK) == (200, MAX_BYTES)
            assert await sent(chunk(b"x" * MAX_BYTES), chunk(b"x"), LAST_CHUNK) == too_large(path)
            assert await sent(*[chunk(b"x")] * MAX_BYTES, LAST_CHUNK) == (200, MAX_BYTES)
            assert await sent(*[chunk(b"x")] * (MAX_BYTES + 1), LAST_CHUNK) == too_large(path)
            assert await sent(b"x", encoding="Content-Length: 1") == (200, 1)
        assert [len(message["body"]) for message in inside.received] == [MAX_BYTES, MAX_BYTES, MAX_BYTES, 1]

    asyncio.run(scenario())


def test_a_too_long_content_length_is_rejected_before_the_body_is_sent() -> None:
    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MAX_BYTES)) as url:
            for length, expect in product((MAX_BYTES + 1, 10**12, 10**19), ("X-Nothing: x", "Expect: 100-continue")):
                async with wire(url) as connection:
                    await connection.ask("POST", "/generate", f"Content-Length: {length}", expect)
                    reply = await connection.reply()
                    assert (reply.status, reply.json) == too_large("/generate")

    asyncio.run(scenario())


def test_a_chunked_body_is_rejected_as_soon_as_it_is_too_long() -> None:
    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MAX_BYTES)) as url, wire(url) as connection:
            await connection.ask("POST", "/generate", CHUNKED, body=chunk(b"x" * (MAX_BYTES + 1)))
            # The last chunk has not been sent.
            assert (await connection.reply()).status == 413

    asyncio.run(scenario())


def test_expect_100_continue_gets_100() -> None:
    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MAX_BYTES)) as url, wire(url) as connection:
            await connection.ask("POST", "/", "Content-Length: 1", "Expect: 100-continue")
            assert (await connection.reply()).status == 100
            await connection.send(b"x")
            assert (await connection.reply()).body == b"1"

    asyncio.run(scenario())


NO_LENGTHS: list[tuple[str | bytes, ...]] = [
    ("Content-Length: -1",),
    ("Content-Length: x",),
    ("Content-Length: 1e9",),
    (b"Content-Length: \xb2",),
    ("Content-Length: 1", "Content-Length: 2000"),
    ("Content-Length: 5", CHUNKED),
]


def test_an_invalid_content_length_is_rejected() -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MAX_BYTES)) as url:
            for headers in NO_LENGTHS:
                async with wire(url) as connection:
                    await connection.ask("POST", "/", *headers)
                    assert (await connection.reply()).status == 400
        assert inside.received == []

    asyncio.run(scenario())


def test_clients_that_send_everything_before_reading_get_the_error_response() -> None:
    # More than all buffers in between can hold: if the connection were closed at once, sending would fail first.
    body = b"x" * 8_000_000

    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MAX_BYTES)) as url, httpx.AsyncClient() as client:

            def by_http_client() -> int:
                connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_SECONDS)
                try:
                    connection.request("POST", "/generate", body)
                    return connection.getresponse().status
                finally:
                    connection.close()

            for _ in range(5):
                assert (await client.post(f"{url}/generate", content=body)).status_code == 413
                assert await asyncio.to_thread(by_http_client) == 413

    asyncio.run(scenario())


def test_a_silent_client_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "BODY_IDLE_SECONDS", 0.1)

    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MAX_BYTES)) as url:
            for encoding, begins in UNFINISHED:
                async with wire(url) as connection:
                    await connection.ask("POST", "/generate", encoding, body=begins)
                    reply = await connection.reply()
                    assert reply.status == 408
                    assert reply.json == {"error": "The request did not arrive within 0.1 s. Send it again."}
                    assert reply.headers["connection"] == "close"
                    assert await connection.rest() == b""
        assert inside.received == []

    asyncio.run(scenario())


def test_a_client_that_keeps_sending_slowly_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "BODY_SECONDS", 0.3)

    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MAX_BYTES)) as url, wire(url) as connection:
            await connection.ask("POST", "/generate", "Content-Length: 1000")

            async def drip() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        await connection.send(b"x")
                        await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            reply = await connection.reply()
            assert reply.status == 408
            assert "within 0.3 s" in reply.json["error"]
            dripping.cancel()
        assert inside.received == []

    asyncio.run(scenario())


def test_pauses_within_the_idle_timeout_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "BODY_IDLE_SECONDS", 1)

    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MAX_BYTES)) as url, wire(url) as connection:
            await connection.ask("POST", "/", "Content-Length: 8")
            for _ in range(8):
                # Together, the pauses are longer than the idle timeout.
                await asyncio.sleep(0.15)
                await connection.send(b"x")
            assert (await connection.reply()).body == b"8"

    asyncio.run(scenario())


def test_the_body_timeouts_do_not_limit_the_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "BODY_IDLE_SECONDS", 0.05)
    monkeypatch.setattr(client_limits, "BODY_SECONDS", 0.05)
    inside = Inside()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.2)
        await inside(scope, receive, send)

    async def scenario() -> None:
        async with running(BodyLimits(slow, MAX_BYTES)) as url, wire(url) as connection:
            await connection.ask("POST", "/", "Content-Length: 1", body=b"x")
            assert (await connection.reply()).body == b"1"

    asyncio.run(scenario())


def raw_deflate(data: bytes) -> bytes:
    """Compress with deflate and without the zlib header, as some clients do."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


async def post(body: bytes, encoding: str | None, most: int = MAX_BYTES) -> tuple[int, dict[str, object], Inside]:
    inside = Inside()
    async with running(BodyLimits(inside, most)) as url, httpx.AsyncClient() as client:
        headers = {} if encoding is None else {"Content-Encoding": encoding}
        answer = await client.post(url, content=body, headers=headers)
        payload = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        return answer.status_code, {**payload, "accept": answer.headers.get("accept-encoding")}, inside


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"abc", mtime=0)),
        ("GZIP", gzip.compress(b"abc", mtime=0)),
        ("x-gzip", gzip.compress(b"a", mtime=0) + gzip.compress(b"bc", mtime=0)),
        ("deflate", zlib.compress(b"abc")),
        ("deflate", raw_deflate(b"abc")),
        ("identity", b"abc"),
        ("", b"abc"),
        ("identity, gzip", gzip.compress(b"abc", mtime=0)),
        (None, b"\xef\xbb\xbfabc"),
        ("gzip", gzip.compress(b"\xef\xbb\xbfabc", mtime=0)),
    ],
)
def test_a_body_is_decoded(encoding: str | None, body: bytes) -> None:
    status, _, inside = asyncio.run(post(body, encoding))
    assert (status, inside.received) == (200, [whole(b"abc")])


def test_the_headers_describe_the_decoded_body() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"]))
        await Inside()(scope, receive, send)

    async def scenario() -> None:
        async with running(BodyLimits(inside, MAX_BYTES)) as url, httpx.AsyncClient() as client:
            await client.post(url, content=gzip.compress(b"abc"), headers={"Content-Encoding": "gzip", "X-A": "b"})

    asyncio.run(scenario())
    assert (seen[0][b"content-length"], seen[0][b"x-a"]) == (b"3", b"b")
    assert b"content-encoding" not in seen[0]


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "aes128gcm", "nothing"])
def test_unsupported_encodings_are_rejected(encoding: str) -> None:
    status, payload, inside = asyncio.run(post(b"abc", encoding))
    assert (status, payload["accept"], inside.received) == (415, "gzip, deflate", [])
    assert str(payload["error"]).startswith(f"The body is encoded as {encoding!r}.")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"abc"),
        ("gzip", gzip.compress(b"abc", mtime=0)[:-3]),
        ("gzip", gzip.compress(b"abc", mtime=0) + b"x"),
        ("deflate", b"abc"),
    ],
)
def test_a_body_that_does_not_match_its_encoding_is_rejected(encoding: str, body: bytes) -> None:
    status, payload, inside = asyncio.run(post(body, encoding))
    assert (status, inside.received) == (400, [])
    assert str(payload["error"]).startswith(f"The body says that it is encoded as {encoding}, and it is not.")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_size_limit_applies_to_the_decoded_body(encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    assert asyncio.run(post(pack(b"a" * MAX_BYTES), encoding))[0] == 200
    for size in (MAX_BYTES + 1, 100_000_000):
        # A hundred million bytes compress to a hundred thousand.
        limit = MAX_BYTES if size == MAX_BYTES + 1 else 1_000_000
        status, payload, inside = asyncio.run(post(pack(b"a" * size), encoding, limit))
        assert (status, inside.received) == (413, [])
        assert str(payload["error"]).startswith("The decoded request is longer than 1,000")
