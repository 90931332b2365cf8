"""Requests under way, over real sockets: counted, refused, and ended in the words of their API."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from maritalk_vllm.errors import Unavailable
from maritalk_vllm.server.middleware import in_flight
from maritalk_vllm.server.middleware.in_flight import InFlightRequests
from tests.server.loading.test_loading_app import running
from tests.server.wire import PATIENCE_SECONDS, until, wire

OVER = Unavailable("The server is stopping.", "Send it again.")
SAID = "The server is stopping. Send it again."
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
FIRST = b'data: {"text": "1"}\n\n'


def begin(*headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


class Work:
    """An application whose answers are ended from outside. `/quick` is answered at once, whatever the others do."""

    def __init__(self, *messages: Message, then: Callable[[Send], Awaitable[None]] | None = None) -> None:
        """What it sends at once; and what it does then: nothing, for ever."""
        self._messages = messages
        self._then = then
        self.begun = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/quick":
            await send(begin((b"content-length", b"5")))
            await send(part(b"quick", more=False))
            return
        for message in self._messages:
            await send(message)
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            if self._then is None:
                raise
        if self._then is not None:
            await self._then(send)


async def whole(send: Send) -> None:
    await send(begin((b"content-length", b"4")))
    await send(part(b"done", more=False))


def test_they_are_counted_until_their_last_byte() -> None:
    async def scenario() -> None:
        work = Work(then=whole)
        layer = InFlightRequests(work)
        async with running(layer) as url, httpx.AsyncClient() as client:
            assert len(layer) == 0
            # Nobody is waited for where nobody is.
            assert await layer.drain(0)
            asking = [asyncio.create_task(client.post(f"{url}/generate")) for _ in range(3)]
            await until(lambda: work.begun == 3)
            assert len(layer) == 3
            assert (await client.get(f"{url}/quick")).text == "quick"
            await until(lambda: len(layer) == 3)
            assert not await layer.drain(0.02)
            landing = asyncio.create_task(layer.drain(PATIENCE_SECONDS))
            work.may_end.set()
            assert await landing
            assert len(layer) == 0
            assert {answer.text for answer in await asyncio.gather(*asking)} == {"done"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/generate", {"error": SAID}),
        ("/api/chat/inference", {"detail": SAID}),
        (
            "/v1/chat/completions",
            {"error": {"message": SAID, "type": "ServiceUnavailableError", "param": None, "code": 503}},
        ),
        ("/v1/messages", {"type": "error", "error": {"type": "overloaded_error", "message": SAID}}),
    ],
)
def test_those_that_come_later_and_those_not_begun_are_told_the_same(path: str, told: dict[str, object]) -> None:
    async def scenario() -> None:
        work = Work()
        layer = InFlightRequests(work)
        async with running(layer) as url, httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(url + path))
            await until(lambda: work.begun)
            layer.reject_new(OVER, "draining")
            refused = await client.post(url + path)
            # Those who only look are answered.
            assert (await client.get(url)).json() == {"status": "draining"}
            assert (await client.get(f"{url}/quick")).text == "quick"
            # The one that was there before goes on.
            assert len(layer) == work.begun == 1
            assert not asking.done()
            layer.abort_all(OVER)
            ended = await asking
            for answer in (refused, ended):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.json() == told
            assert await layer.drain(PATIENCE_SECONDS)
            assert work.cancelled == 1

    asyncio.run(scenario())


LAST_EVENTS = {
    "/generate": f'event: error\ndata: {{"error": "{SAID}"}}\n\n',
    "/api/chat/inference": f'event: error\ndata: {{"detail": "{SAID}"}}\n\n',
    "/api/chat/completions": f'data: {{"error": {{"message": "{SAID}", "type": "ServiceUnavailableError", '
    '"param": null, "code": 503}}\n\ndata: [DONE]\n\n',
}


@pytest.mark.parametrize("sent", [(), (part(FIRST),)])
def test_a_stream_ends_properly_with_its_last_events(sent: tuple[Message, ...]) -> None:
    async def scenario() -> None:
        work = Work(begin(EVENTS), *sent)
        layer = InFlightRequests(work)

        def beyond(number: int) -> Callable[[], bool]:
            return lambda: work.begun > number

        async with running(layer) as url, httpx.AsyncClient() as client:
            for number, (path, last) in enumerate(LAST_EVENTS.items()):
                async with client.stream("POST", url + path) as answer:
                    await until(beyond(number))
                    layer.abort_all(OVER)
                    # Ended properly: httpx raises for a stream that is cut off.
                    assert (await answer.aread()).decode() == FIRST.decode() * len(sent) + last
                assert await layer.drain(PATIENCE_SECONDS)
            # Nothing is left on the connection that would be taken for the next answer.
            assert (await client.get(f"{url}/quick")).text == "quick"

    asyncio.run(scenario())


# ASGI lets an application leave headers out.
BARE: Message = {"type": "http.response.start", "status": 200}


@pytest.mark.parametrize("start", [BARE, begin((b"content-type", b"application/json"))])
def test_half_an_answer_in_one_piece_is_cut_off(start: Message) -> None:
    async def scenario() -> None:
        layer = InFlightRequests(work := Work(start, part(b'{"output": "')))
        async with running(layer) as url, httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(f"{url}/generate"))
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            # Whatever was added would only look like an answer.
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                await asking
            assert await layer.drain(PATIENCE_SECONDS)

    asyncio.run(scenario())


@pytest.mark.parametrize("headers", [[], [EVENTS]])
def test_to_an_answer_that_is_whole_nothing_is_added(headers: list[tuple[bytes, bytes]]) -> None:
    async def scenario() -> None:
        # Applications may do something after it.
        work = Work(begin(*headers, (b"content-length", b"5")), part(b"whole", more=False))
        layer = InFlightRequests(work)
        async with running(layer) as url, wire(url) as line:
            await line.ask("POST", "/generate")
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            assert await layer.drain(PATIENCE_SECONDS)
            assert work.cancelled == 1
            assert (await line.reply()).body == b"whole"
            await line.ask("GET", "/quick", "Connection: close")
            assert (await line.reply()).body == b"quick"
            assert await line.rest() == b""

    asyncio.run(scenario())


def test_an_answer_that_is_sent_in_the_last_moment_counts() -> None:
    async def scenario() -> None:
        layer = InFlightRequests(work := Work(then=whole))
        async with running(layer) as url, wire(url) as line:
            await line.ask("POST", "/generate", "Connection: close")
            await until(lambda: work.begun)
            # It hears that it is over, and answers all the same.
            layer.abort_all(OVER)
            assert (await line.rest()).endswith(b"\r\n\r\ndone")
            assert work.cancelled == 1

    asyncio.run(scenario())


def test_an_end_that_its_client_did_not_get_yet_does_not_count() -> None:
    async def scenario() -> None:
        sent: list[Message] = []
        reads = asyncio.Event()

        async def slow_client(message: Message) -> None:
            if len(sent) == 2:
                await reads.wait()
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        layer = InFlightRequests(Work(begin(EVENTS), part(FIRST), part(b"never sent", more=False)))
        flight = asyncio.create_task(layer({"type": "http", "path": "/generate"}, receive, slow_client))
        await until(lambda: len(sent) == 2)
        layer.abort_all(OVER)
        # The application is stuck in sending its end, and that is what ends.
        await asyncio.sleep(0.05)
        reads.set()
        await asyncio.wait_for(flight, PATIENCE_SECONDS)
        assert sent[2:] == [part(LAST_EVENTS["/generate"].encode(), more=False)]

    asyncio.run(scenario())


def test_what_does_not_hear_that_it_is_over_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_CANCEL_SECONDS", 0.05)

    async def scenario() -> None:
        tried = asyncio.Event()

        async def much_later(send: Send) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            # By now its client has been told otherwise.
            with contextlib.suppress(RuntimeError):
                await whole(send)
            tried.set()

        layer = InFlightRequests(work := Work(then=much_later))
        async with running(layer) as url, wire(url) as line:
            await line.ask("POST", "/generate")
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            reply = await line.reply()
            assert (reply.status, reply.json) == (503, {"error": SAID})
            assert await layer.drain(PATIENCE_SECONDS)
            await asyncio.wait_for(tried.wait(), PATIENCE_SECONDS)
            await line.ask("GET", "/quick", "Connection: close")
            assert (await line.reply()).body == b"quick"
            assert await line.rest() == b""

    asyncio.run(scenario())


def test_to_be_ended_again_changes_nothing() -> None:
    async def scenario() -> None:
        layer = InFlightRequests(work := Work())
        async with running(layer) as url, httpx.AsyncClient() as client:
            layer.abort_all(OVER)
            asking = asyncio.create_task(client.post(f"{url}/generate"))
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            layer.abort_all(Unavailable("Something else."))
            assert (await asking).json() == {"error": SAID}
            assert await layer.drain(PATIENCE_SECONDS)

    asyncio.run(scenario())


def test_an_error_of_the_application_is_the_server_s_to_report(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(send: Send) -> None:
        raise LookupError("as ever")

    async def scenario() -> None:
        layer = InFlightRequests(work := Work(then=failing))
        work.may_end.set()
        async with running(layer) as url, httpx.AsyncClient() as client:
            assert (await client.post(f"{url}/generate")).status_code == 500
            assert await layer.drain(PATIENCE_SECONDS)

    asyncio.run(scenario())
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "as ever"


def test_a_client_that_goes_away_frees_its_place() -> None:
    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def scenario() -> None:
        layer = InFlightRequests(listening)
        async with running(layer) as url, wire(url) as line:
            await line.ask("POST", "/generate")
            await until(lambda: len(layer) == 1)
            line.hang_up()
            assert await layer.drain(PATIENCE_SECONDS)
            assert len(layer) == 0

    asyncio.run(scenario())


def test_one_whose_client_has_gone_can_be_ended_too() -> None:
    async def scenario() -> None:
        layer = InFlightRequests(work := Work(begin(EVENTS), part(FIRST)))
        async with running(layer) as url:
            async with wire(url) as line:
                await line.ask("POST", "/generate")
                await until(lambda: work.begun)
            layer.abort_all(OVER)
            assert await layer.drain(PATIENCE_SECONDS)

    asyncio.run(scenario())


def test_a_server_that_gives_a_request_up_ends_its_work() -> None:
    async def scenario() -> None:
        layer = InFlightRequests(work := Work())

        async def nothing(*_: object) -> Any:
            return {"type": "http.request"}

        flight = asyncio.create_task(layer({"type": "http", "path": "/generate"}, nothing, nothing))
        await until(lambda: work.begun)
        flight.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flight
        await until(lambda: work.cancelled)
        assert await layer.drain(0)

    asyncio.run(scenario())


def test_what_is_no_request_goes_through_and_is_not_counted() -> None:
    async def scenario() -> None:
        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append((scope["type"], len(layer)))

        async def never(*_: object) -> Any:
            raise AssertionError

        seen: list[tuple[str, int]] = []
        layer = InFlightRequests(noting)
        layer.reject_new(OVER, "draining")
        for kind in ("lifespan", "websocket"):
            await layer({"type": kind}, never, never)
        assert seen == [("lifespan", 0), ("websocket", 0)]

    asyncio.run(scenario())
