"""Bodies, over real sockets: too long, too slow, cut off, and as the application gets those that are none of it."""

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
from tests.server.wire import PATIENCE_SECONDS, until, wire

MOST = 1000


class Inside:
    """What lies behind. It answers with the length of the body, or at /wait not before the client goes."""

    def __init__(self) -> None:
        self.got: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.got.append(await receive())
        if scope["path"] == "/wait":
            self.got.append(await receive())
            return
        length = str(len(self.got[-1]["body"])).encode()
        headers = [(b"content-length", str(len(length)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": length})


def whole(body: bytes) -> Message:
    return {"type": "http.request", "body": body, "more_body": False}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


CHUNKED = "Transfer-Encoding: chunked"
LAST_CHUNK = b"0\r\n\r\n"


def test_the_application_gets_a_body_whole_however_it_was_sent() -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MOST)) as url, wire(url) as line:
            await line.ask("GET", "/")
            assert (await line.reply()).body == b"0"
            await line.ask("POST", "/", "Content-Length: 0")
            assert (await line.reply()).body == b"0"
            await line.ask("POST", "/", "Content-Length: 6", body=b"ab")
            for piece in (b"c", b"de", b"f"):
                await asyncio.sleep(0.02)
                await line.send(piece)
            assert (await line.reply()).body == b"6"
            await line.ask("POST", "/", CHUNKED, body=chunk(b"ab"))
            for piece in (chunk(b"cd")[:4], chunk(b"cd")[4:], chunk(b"ef"), LAST_CHUNK):
                await asyncio.sleep(0.02)
                await line.send(piece)
            assert (await line.reply()).body == b"6"
        assert inside.got == [whole(b""), whole(b""), whole(b"abcdef"), whole(b"abcdef")]

    asyncio.run(scenario())


def test_a_long_body_comes_whole_as_well() -> None:
    async def scenario() -> None:
        inside, body = Inside(), bytes(range(256)) * 20_000
        async with running(BodyLimits(inside, len(body))) as url, httpx.AsyncClient() as client:
            assert (await client.post(url, content=body)).text == str(len(body))
        assert inside.got == [whole(body)]

    asyncio.run(scenario())


def test_the_application_hears_when_its_client_goes() -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MOST)) as url, wire(url) as line:
            await line.ask("POST", "/wait", "Content-Length: 1", body=b"x")
            await until(lambda: inside.got)
            line.hang_up()
            await until(lambda: len(inside.got) == 2)
        assert inside.got == [whole(b"x"), {"type": "http.disconnect"}]

    asyncio.run(scenario())


UNFINISHED = [("Content-Length: 10", b""), ("Content-Length: 10", b"x"), (CHUNKED, b""), (CHUNKED, chunk(b"x"))]


def test_a_client_that_goes_before_its_body_is_whole_asks_nothing() -> None:
    async def scenario() -> None:
        inside, ended = Inside(), []

        async def layer(scope: Scope, receive: Receive, send: Send) -> None:
            await BodyLimits(inside, MOST)(scope, receive, send)
            ended.append(scope)

        def beyond(number: int) -> Callable[[], bool]:
            return lambda: len(ended) > number

        async with running(layer) as url:
            for number, (encoding, begins) in enumerate(UNFINISHED):
                async with wire(url) as line:
                    await line.ask("POST", "/generate", encoding, body=begins)
                    await asyncio.sleep(0.05)
                    assert len(ended) == number
                    line.hang_up()
                    await until(beyond(number))
        assert inside.got == []

    asyncio.run(scenario())


def too_large(path: str) -> tuple[int, dict[str, object]]:
    said = "The request is longer than 1,000 bytes, this server's limit. Send less, or raise --max-body-mb."
    if path == "/generate":
        return 413, {"error": said}
    return 413, {"type": "error", "error": {"type": "request_too_large", "message": said}}


@pytest.mark.parametrize("path", ["/generate", "/v1/messages"])
def test_the_limit_to_the_byte(path: str) -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MOST)) as url, wire(url) as line:

            async def sent(*pieces: bytes, encoding: str = CHUNKED) -> tuple[int, object]:
                await line.ask("POST", path, encoding)
                for piece in pieces:
                    await line.send(piece)
                reply = await line.reply()
                return reply.status, reply.json

            # All on one connection: what is refused leaves nothing behind that would be taken for the next request.
            assert await sent(b"x" * MOST, encoding=f"Content-Length: {MOST}") == (200, MOST)
            assert await sent(b"x" * (MOST + 1), encoding=f"Content-Length: {MOST + 1}") == too_large(path)
            assert await sent(chunk(b"x" * MOST), LAST_CHUNK) == (200, MOST)
            assert await sent(chunk(b"x" * MOST), chunk(b"x"), LAST_CHUNK) == too_large(path)
            assert await sent(*[chunk(b"x")] * MOST, LAST_CHUNK) == (200, MOST)
            assert await sent(*[chunk(b"x")] * (MOST + 1), LAST_CHUNK) == too_large(path)
            assert await sent(b"x", encoding="Content-Length: 1") == (200, 1)
        assert [len(message["body"]) for message in inside.got] == [MOST, MOST, MOST, 1]

    asyncio.run(scenario())


def test_a_body_that_says_that_it_is_too_long_is_refused_before_it_is_sent() -> None:
    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MOST)) as url:
            for length, expect in product((MOST + 1, 10**12, 10**19), ("X-Nothing: x", "Expect: 100-continue")):
                async with wire(url) as line:
                    await line.ask("POST", "/generate", f"Content-Length: {length}", expect)
                    reply = await line.reply()
                    assert (reply.status, reply.json) == too_large("/generate")

    asyncio.run(scenario())


def test_a_body_in_chunks_is_refused_as_soon_as_it_is_too_long() -> None:
    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MOST)) as url, wire(url) as line:
            await line.ask("POST", "/generate", CHUNKED, body=chunk(b"x" * (MOST + 1)))
            # There is no last chunk yet.
            assert (await line.reply()).status == 413

    asyncio.run(scenario())


def test_a_body_that_is_wanted_is_asked_for() -> None:
    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MOST)) as url, wire(url) as line:
            await line.ask("POST", "/", "Content-Length: 1", "Expect: 100-continue")
            assert (await line.reply()).status == 100
            await line.send(b"x")
            assert (await line.reply()).body == b"1"

    asyncio.run(scenario())


NO_LENGTHS: list[tuple[str | bytes, ...]] = [
    ("Content-Length: -1",),
    ("Content-Length: x",),
    ("Content-Length: 1e9",),
    (b"Content-Length: \xb2",),
    ("Content-Length: 1", "Content-Length: 2000"),
    ("Content-Length: 5", CHUNKED),
]


def test_a_length_that_is_none_gets_nowhere() -> None:
    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MOST)) as url:
            for headers in NO_LENGTHS:
                async with wire(url) as line:
                    await line.ask("POST", "/", *headers)
                    assert (await line.reply()).status == 400
        assert inside.got == []

    asyncio.run(scenario())


def test_clients_that_send_all_before_they_read_see_why_they_were_refused() -> None:
    # More than all buffers on the way hold: were the connection closed at once, sending would fail first.
    body = b"x" * 8_000_000

    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MOST)) as url, httpx.AsyncClient() as client:

            def by_http_client() -> int:
                connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_SECONDS)
                try:
                    connection.request("POST", "/generate", body)
                    return connection.getresponse().status
                finally:
                    connection.close()

            for _ in range(5):
                assert (await client.post(f"{url}/generate", content=body)).status_code == 413
                assert await asyncio.to_thread(by_http_client) == 413

    asyncio.run(scenario())


def test_a_silent_client_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "SILENCE_SECONDS", 0.1)

    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MOST)) as url:
            for encoding, begins in UNFINISHED:
                async with wire(url) as line:
                    await line.ask("POST", "/generate", encoding, body=begins)
                    reply = await line.reply()
                    assert reply.status == 408
                    assert reply.json == {"error": "The request did not arrive within 0.1 s. Send it again."}
                    assert reply.headers["connection"] == "close"
                    assert await line.rest() == b""
        assert inside.got == []

    asyncio.run(scenario())


def test_nor_is_one_that_always_sends_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "WHOLE_SECONDS", 0.3)

    async def scenario() -> None:
        inside = Inside()
        async with running(BodyLimits(inside, MOST)) as url, wire(url) as line:
            await line.ask("POST", "/generate", "Content-Length: 1000")

            async def drip() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        await line.send(b"x")
                        await asyncio.sleep(0.02)

            dripping = asyncio.create_task(drip())
            reply = await line.reply()
            assert reply.status == 408
            assert "within 0.3 s" in reply.json["error"]
            dripping.cancel()
        assert inside.got == []

    asyncio.run(scenario())


def test_a_client_that_pauses_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "SILENCE_SECONDS", 1)

    async def scenario() -> None:
        async with running(BodyLimits(Inside(), MOST)) as url, wire(url) as line:
            await line.ask("POST", "/", "Content-Length: 8")
            for _ in range(8):
                # Longer together than any silence may be.
                await asyncio.sleep(0.15)
                await line.send(b"x")
            assert (await line.reply()).body == b"8"

    asyncio.run(scenario())


def test_how_long_an_answer_takes_is_not_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_limits, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(client_limits, "WHOLE_SECONDS", 0.05)
    inside = Inside()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.2)
        await inside(scope, receive, send)

    async def scenario() -> None:
        async with running(BodyLimits(slow, MOST)) as url, wire(url) as line:
            await line.ask("POST", "/", "Content-Length: 1", body=b"x")
            assert (await line.reply()).body == b"1"

    asyncio.run(scenario())


def bare(data: bytes) -> bytes:
    """Deflate without zlib's head, as some clients send it."""
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


async def asked(body: bytes, encoding: str | None, most: int = MOST) -> tuple[int, dict[str, object], Inside]:
    inside = Inside()
    async with running(BodyLimits(inside, most)) as url, httpx.AsyncClient() as client:
        headers = {} if encoding is None else {"Content-Encoding": encoding}
        answer = await client.post(url, content=body, headers=headers)
        told = answer.json() if answer.headers.get("content-type") == "application/json" else {}
        return answer.status_code, {**told, "accept": answer.headers.get("accept-encoding")}, inside


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"abc", mtime=0)),
        ("GZIP", gzip.compress(b"abc", mtime=0)),
        ("x-gzip", gzip.compress(b"a", mtime=0) + gzip.compress(b"bc", mtime=0)),
        ("deflate", zlib.compress(b"abc")),
        ("deflate", bare(b"abc")),
        ("identity", b"abc"),
        ("", b"abc"),
        ("identity, gzip", gzip.compress(b"abc", mtime=0)),
        (None, b"\xef\xbb\xbfabc"),
        ("gzip", gzip.compress(b"\xef\xbb\xbfabc", mtime=0)),
    ],
)
def test_a_body_is_decoded(encoding: str | None, body: bytes) -> None:
    status, _, inside = asyncio.run(asked(body, encoding))
    assert (status, inside.got) == (200, [whole(b"abc")])


def test_the_head_is_that_of_the_decoded_body() -> None:
    seen: list[dict[bytes, bytes]] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["headers"]))
        await Inside()(scope, receive, send)

    async def scenario() -> None:
        async with running(BodyLimits(inside, MOST)) as url, httpx.AsyncClient() as client:
            await client.post(url, content=gzip.compress(b"abc"), headers={"Content-Encoding": "gzip", "X-A": "b"})

    asyncio.run(scenario())
    assert (seen[0][b"content-length"], seen[0][b"x-a"]) == (b"3", b"b")
    assert b"content-encoding" not in seen[0]


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "aes128gcm", "nothing"])
def test_other_encodings_are_refused(encoding: str) -> None:
    status, told, inside = asyncio.run(asked(b"abc", encoding))
    assert (status, told["accept"], inside.got) == (415, "gzip, deflate", [])
    assert str(told["error"]).startswith(f"The body is encoded as {encoding!r}.")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"abc"),
        ("gzip", gzip.compress(b"abc", mtime=0)[:-3]),
        ("gzip", gzip.compress(b"abc", mtime=0) + b"x"),
        ("deflate", b"abc"),
    ],
)
def test_a_body_that_is_not_what_it_says(encoding: str, body: bytes) -> None:
    status, told, inside = asyncio.run(asked(body, encoding))
    assert (status, inside.got) == (400, [])
    assert str(told["error"]).startswith(f"The body says that it is encoded as {encoding}, and it is not.")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_may_not_grow_over_the_limit(encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    assert asyncio.run(asked(pack(b"a" * MOST), encoding))[0] == 200
    for size in (MOST + 1, 100_000_000):
        # A hundred million bytes of it are a hundred thousand.
        status, told, inside = asyncio.run(asked(pack(b"a" * size), encoding, MOST if size == MOST + 1 else 1_000_000))
        assert (status, inside.got) == (413, [])
        assert str(told["error"]).startswith("The decoded request is longer than 1,000")
