"""In-flight requests, over real sockets: counted, rejected, and aborted in the error format of their API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from maritalk_vllm.errors import Unavailable
from maritalk_vllm.server.middleware import in_flight
from maritalk_vllm.server.middleware.in_flight import InFlight, InFlightRequests
from tests.server.loading.test_loading_app import running
from tests.server.wire import TIMEOUT_SECONDS, until, wire

OVER = Unavailable("The server is stopping.", "Send it again.")
MESSAGE = "The server is stopping. Send it again."
EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
FIRST = b'data: {"text": "1"}\n\n'


def begin(*headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": list(headers)}


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def nothing_received() -> Message:
    return {"type": "http.disconnect"}


async def nothing_sent(message: Message) -> None:
    pass


class Work:
    """An application whose responses the test completes. `/quick` is always answered at once."""

    def __init__(self, *messages: Message, then: Callable[[Send], Awaitable[None]] | None = None) -> None:
        """`messages` are sent at once. `then` runs when `may_end` is set or the request is cancelled."""
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


def test_requests_are_counted_until_the_last_byte_of_the_response() -> None:
    async def scenario() -> None:
        work = Work(then=whole)
        layer = InFlightRequests()
        app = InFlight(work, layer)
        async with running(app) as url, httpx.AsyncClient() as client:
            assert len(layer) == 0
            # Without requests, drain returns at once.
            assert await layer.drain(0)
            asking = [asyncio.create_task(client.post(f"{url}/generate")) for _ in range(3)]
            await until(lambda: work.begun == 3)
            assert len(layer) == 3
            assert (await client.get(f"{url}/quick")).text == "quick"
            await until(lambda: len(layer) == 3)
            assert not await layer.drain(0.02)
            draining = asyncio.create_task(layer.drain(TIMEOUT_SECONDS))
            work.may_end.set()
            assert await draining
            assert len(layer) == 0
            assert {answer.text for answer in await asyncio.gather(*asking)} == {"done"}

    asyncio.run(scenario())


@pytest.mark.parametrize("steps", range(5))
def test_a_drain_is_cancelled_even_while_its_last_request_ends(steps: int) -> None:
    """`wait_for` of Python 3.11 loses a cancellation that arrives together with the result."""

    async def scenario() -> None:
        work = Work()
        layer = InFlightRequests()
        app = InFlight(work, layer)
        request = asyncio.create_task(app({"type": "http", "path": "/generate"}, nothing_received, nothing_sent))
        await asyncio.sleep(0)
        draining = asyncio.create_task(layer.drain(TIMEOUT_SECONDS))
        work.may_end.set()
        await request
        for _ in range(steps):
            await asyncio.sleep(0)
        was_cancelled = draining.cancel()
        await asyncio.wait((draining,))
        assert draining.cancelled() == was_cancelled

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("/generate", {"error": MESSAGE}),
        ("/api/chat/inference", {"detail": MESSAGE}),
        (
            "/v1/chat/completions",
            {"error": {"message": MESSAGE, "type": "ServiceUnavailableError", "param": None, "code": 503}},
        ),
        ("/v1/messages", {"type": "error", "error": {"type": "overloaded_error", "message": MESSAGE}}),
    ],
)
def test_new_requests_and_aborted_unanswered_requests_get_the_same_error(path: str, payload: dict[str, object]) -> None:
    async def scenario() -> None:
        work = Work()
        layer = InFlightRequests()
        app = InFlight(work, layer)
        async with running(app) as url, httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(url + path))
            await until(lambda: work.begun)
            layer.reject_new(OVER, "draining")
            rejected = await client.post(url + path)
            # GET is still answered.
            assert (await client.get(url)).json() == {"status": "draining"}
            assert (await client.get(f"{url}/quick")).text == "quick"
            # The request that was already in flight continues.
            assert len(layer) == work.begun == 1
            assert not asking.done()
            layer.abort_all(OVER)
            aborted = await asking
            for answer in (rejected, aborted):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "1"
                assert answer.json() == payload
            assert await layer.drain(TIMEOUT_SECONDS)
            assert work.cancelled == 1

    asyncio.run(scenario())


LAST_EVENTS = {
    "/generate": f'event: error\ndata: {{"error": "{MESSAGE}"}}\n\n',
    "/api/chat/inference": f'event: error\ndata: {{"detail": "{MESSAGE}"}}\n\n',
    "/api/chat/completions": f'data: {{"error": {{"message": "{MESSAGE}", "type": "ServiceUnavailableError", '
    '"param": null, "code": 503}}\n\ndata: [DONE]\n\n',
}


@pytest.mark.parametrize("sent", [(), (part(FIRST),)])
def test_an_aborted_stream_ends_with_error_events(sent: tuple[Message, ...]) -> None:
    async def scenario() -> None:
        work = Work(begin(EVENTS), *sent)
        layer = InFlightRequests()
        app = InFlight(work, layer)

        def beyond(number: int) -> Callable[[], bool]:
            return lambda: work.begun > number

        async with running(app) as url, httpx.AsyncClient() as client:
            for number, (path, last) in enumerate(LAST_EVENTS.items()):
                async with client.stream("POST", url + path) as answer:
                    await until(beyond(number))
                    layer.abort_all(OVER)
                    # The stream is complete: httpx raises for one that is cut off.
                    assert (await answer.aread()).decode() == FIRST.decode() * len(sent) + last
                assert await layer.drain(TIMEOUT_SECONDS)
            # Nothing is left on the connection that could be taken for the next response.
            assert (await client.get(f"{url}/quick")).text == "quick"

    asyncio.run(scenario())


# ASGI allows an application to omit headers.
BARE: Message = {"type": "http.response.start", "status": 200}


@pytest.mark.parametrize("start", [BARE, begin((b"content-type", b"application/json"))])
def test_an_aborted_partial_response_closes_the_connection(start: Message) -> None:
    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(work := Work(start, part(b'{"output": "')), layer)
        async with running(app) as url, httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(f"{url}/generate"))
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            # Anything added would look like a part of the response.
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                await asking
            assert await layer.drain(TIMEOUT_SECONDS)

    asyncio.run(scenario())


@pytest.mark.parametrize("headers", [[], [EVENTS]])
def test_nothing_is_added_to_a_complete_response(headers: list[tuple[bytes, bytes]]) -> None:
    async def scenario() -> None:
        # The application may continue after its last message.
        work = Work(begin(*headers, (b"content-length", b"5")), part(b"whole", more=False))
        layer = InFlightRequests()
        app = InFlight(work, layer)
        async with running(app) as url, wire(url) as connection:
            await connection.ask("POST", "/generate")
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            assert await layer.drain(TIMEOUT_SECONDS)
            assert work.cancelled == 1
            assert (await connection.reply()).body == b"whole"
            await connection.ask("GET", "/quick", "Connection: close")
            assert (await connection.reply()).body == b"quick"
            assert await connection.rest() == b""

    asyncio.run(scenario())


def test_a_response_sent_during_cancellation_is_delivered() -> None:
    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(work := Work(then=whole), layer)
        async with running(app) as url, wire(url) as connection:
            await connection.ask("POST", "/generate", "Connection: close")
            await until(lambda: work.begun)
            # The application handles the cancellation by responding.
            layer.abort_all(OVER)
            assert (await connection.rest()).endswith(b"\r\n\r\ndone")
            assert work.cancelled == 1

    asyncio.run(scenario())


def test_a_final_message_that_is_not_sent_yet_is_replaced_by_the_error() -> None:
    async def scenario() -> None:
        sent: list[Message] = []
        reads = asyncio.Event()

        async def slow_client(message: Message) -> None:
            if len(sent) == 2:
                await reads.wait()
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        layer = InFlightRequests()
        app = InFlight(Work(begin(EVENTS), part(FIRST), part(b"never sent", more=False)), layer)
        request = asyncio.create_task(app({"type": "http", "path": "/generate"}, receive, slow_client))
        await until(lambda: len(sent) == 2)
        layer.abort_all(OVER)
        # The application is blocked in sending its last message, which the abort cancels.
        await asyncio.sleep(0.05)
        reads.set()
        await asyncio.wait_for(request, TIMEOUT_SECONDS)
        assert sent[2:] == [part(LAST_EVENTS["/generate"].encode(), more=False)]

    asyncio.run(scenario())


def test_an_application_that_ignores_cancellation_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "_CANCEL_SECONDS", 0.05)

    async def scenario() -> None:
        tried = asyncio.Event()

        async def much_later(send: Send) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            # By now the client has got the error response.
            with contextlib.suppress(RuntimeError):
                await whole(send)
            tried.set()

        layer = InFlightRequests()
        app = InFlight(work := Work(then=much_later), layer)
        async with running(app) as url, wire(url) as connection:
            await connection.ask("POST", "/generate")
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            reply = await connection.reply()
            assert (reply.status, reply.json) == (503, {"error": MESSAGE})
            assert await layer.drain(TIMEOUT_SECONDS)
            await asyncio.wait_for(tried.wait(), TIMEOUT_SECONDS)
            await connection.ask("GET", "/quick", "Connection: close")
            assert (await connection.reply()).body == b"quick"
            assert await connection.rest() == b""

    asyncio.run(scenario())


def test_a_second_abort_has_no_effect() -> None:
    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(work := Work(), layer)
        async with running(app) as url, httpx.AsyncClient() as client:
            layer.abort_all(OVER)
            asking = asyncio.create_task(client.post(f"{url}/generate"))
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            layer.abort_all(Unavailable("Something else."))
            assert (await asking).json() == {"error": MESSAGE}
            assert await layer.drain(TIMEOUT_SECONDS)

    asyncio.run(scenario())


def test_an_exception_of_the_application_propagates_to_the_server(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(send: Send) -> None:
        raise LookupError("failure of the application")

    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(work := Work(then=failing), layer)
        work.may_end.set()
        async with running(app) as url, httpx.AsyncClient() as client:
            assert (await client.post(f"{url}/generate")).status_code == 500
            assert await layer.drain(TIMEOUT_SECONDS)

    asyncio.run(scenario())
    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "failure of the application"


def test_a_disconnected_client_is_no_longer_counted() -> None:
    async def listening(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(listening, layer)
        async with running(app) as url, wire(url) as connection:
            await connection.ask("POST", "/generate")
            await until(lambda: len(layer) == 1)
            connection.disconnect()
            assert await layer.drain(TIMEOUT_SECONDS)
            assert len(layer) == 0

    asyncio.run(scenario())


def test_a_request_whose_client_disconnected_can_be_aborted() -> None:
    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(work := Work(begin(EVENTS), part(FIRST)), layer)
        async with running(app) as url:
            async with wire(url) as connection:
                await connection.ask("POST", "/generate")
                await until(lambda: work.begun)
            layer.abort_all(OVER)
            assert await layer.drain(TIMEOUT_SECONDS)

    asyncio.run(scenario())


def test_cancelling_a_request_cancels_the_application() -> None:
    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(work := Work(), layer)

        async def nothing(*_: object) -> Any:
            return {"type": "http.request"}

        request = asyncio.create_task(app({"type": "http", "path": "/generate"}, nothing, nothing))
        await until(lambda: work.begun)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await until(lambda: work.cancelled)
        assert await layer.drain(0)

    asyncio.run(scenario())


def test_other_scope_types_pass_and_are_not_counted() -> None:
    async def scenario() -> None:
        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append((scope["type"], len(layer)))

        async def never(*_: object) -> Any:
            raise AssertionError

        seen: list[tuple[str, int]] = []
        layer = InFlightRequests()
        app = InFlight(noting, layer)
        layer.reject_new(OVER, "draining")
        for kind in ("lifespan", "websocket"):
            await app({"type": kind}, never, never)
        assert seen == [("lifespan", 0), ("websocket", 0)]

    asyncio.run(scenario())


def test_an_application_that_fails_on_its_cancellation_gets_the_error_of_the_abort() -> None:
    async def failing(send: Send) -> None:
        raise LookupError("failure of the application")

    async def scenario() -> None:
        layer = InFlightRequests()
        app = InFlight(work := Work(then=failing), layer)
        async with running(app) as url, httpx.AsyncClient() as client:
            asking = asyncio.create_task(client.post(f"{url}/generate"))
            await until(lambda: work.begun)
            layer.abort_all(OVER)
            answer = await asking
            assert (answer.status_code, answer.json()) == (503, {"error": MESSAGE})
            assert await layer.drain(TIMEOUT_SECONDS)

    asyncio.run(scenario())


@pytest.mark.parametrize("leaves", [False, True])
def test_an_abort_reaches_the_tasks_of_a_framework(leaves: bool) -> None:
    """Starlette's streams have tasks of their own, in a group that a cancellation of the request has to end."""

    async def scenario() -> None:
        closed = asyncio.Event()

        async def pieces() -> AsyncIterator[bytes]:
            try:
                yield FIRST
                await asyncio.sleep(60)
            finally:
                closed.set()

        async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
            response = (
                quick if scope["path"] == "/quick" else StreamingResponse(pieces(), media_type=EVENTS[1].decode())
            )
            await response(scope, receive, send)

        quick = Response("quick")
        layer = InFlightRequests()
        async with running(InFlight(streaming, layer)) as url, httpx.AsyncClient() as client:
            async with client.stream("POST", f"{url}/generate") as answer:
                parts = answer.aiter_bytes()
                assert await anext(parts) == FIRST
                if not leaves:
                    layer.abort_all(OVER)
                    assert b"".join([part async for part in parts]).decode() == LAST_EVENTS["/generate"]
            await asyncio.wait_for(closed.wait(), TIMEOUT_SECONDS)
            assert await layer.drain(TIMEOUT_SECONDS)
            assert (await client.get(f"{url}/quick")).text == "quick"

    asyncio.run(scenario())


def test_a_request_runs_in_the_task_of_the_server() -> None:
    async def scenario() -> None:
        async def noting(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(asyncio.current_task())

        seen: list[object] = []

        async def nothing(*_: object) -> Any:
            raise AssertionError

        await InFlight(noting, InFlightRequests())({"type": "http", "path": "/generate"}, nothing, nothing)
        assert seen == [asyncio.current_task()]

    asyncio.run(scenario())
