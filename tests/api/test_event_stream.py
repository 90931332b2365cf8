"""Streams of our routes: when they start, how they fail, and what a disconnect closes."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from starlette.types import Message

from maritalk_vllm.api import keep_alive
from maritalk_vllm.api.error_responses import ErrorShape
from maritalk_vllm.api.sse import EventStream
from maritalk_vllm.engine.request_context import CONTEXT, RequestContext
from maritalk_vllm.errors import RequestError, Unavailable
from tests.server.wire import until

SILENCE = 0.02
FIRST, SECOND = "data: 1\n\n", "data: 2\n\n"
FULL = Unavailable("The queue is full.", "Try again.")


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(keep_alive, "SILENCE_SECONDS", SILENCE)
    yield


class Exchange:
    """One request for a stream, whose client disconnects when `left` is set."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.closed = False
        self.context = RequestContext()

    async def events(self, *steps: str | Exception | None) -> AsyncGenerator[str, None]:
        """Yield texts and raise errors; None waits for `may_go_on`."""
        try:
            for step in steps:
                if isinstance(step, Exception):
                    raise step
                if step is None:
                    await self.may_go_on.wait()
                else:
                    yield step
        finally:
            self.closed = True

    async def run(self, *steps: str | Exception | None) -> None:
        scope = {"type": "http", "method": "POST", "path": "/generate", CONTEXT: self.context}
        await EventStream(self.events(*steps), ErrorShape.LOCAL)(scope, self._receive, self._send)

    @property
    def status(self) -> int:
        start, *others = self.sent
        assert start["type"] == "http.response.start"
        assert all(each["type"] == "http.response.body" for each in others)
        status: int = start["status"]
        return status

    @property
    def body(self) -> str:
        assert not self.sent[-1].get("more_body", False)
        return b"".join(each.get("body", b"") for each in self.sent).decode().replace(": keep-alive\n\n", "")

    async def _receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def run(*steps: str | Exception | None) -> Exchange:
    async def scenario() -> Exchange:
        exchange = Exchange()
        asyncio.get_running_loop().call_later(5 * SILENCE, exchange.may_go_on.set)
        await exchange.run(*steps)
        return exchange

    return asyncio.run(scenario())


def test_events_are_sent_one_by_one() -> None:
    exchange = run(FIRST, SECOND)
    assert [each.get("body") for each in exchange.sent] == [None, FIRST.encode(), SECOND.encode(), b""]
    assert exchange.status == 200 and exchange.closed
    assert dict(exchange.sent[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"


@pytest.mark.parametrize("error", [RequestError("The prompt is too long."), FULL, LookupError("a bug")])
def test_an_error_before_the_first_event_has_a_status_of_its_own(error: Exception) -> None:
    exchange = run(error, FIRST)
    assert exchange.status == getattr(error, "http_status", 500)
    assert (b"retry-after" in dict(exchange.sent[0]["headers"])) is (error is FULL)
    text = str(error) if isinstance(error, (RequestError, Unavailable)) else "The server failed on this request."
    assert exchange.body.startswith(f'{{"error":"{text}')
    assert text in exchange.context.rejection


def test_an_error_after_an_event_or_after_a_silence_is_the_last_event() -> None:
    for before in (FIRST, None):
        exchange = run(before, FULL)
        assert exchange.status == 200
        assert exchange.body == (before or "") + f'event: error\ndata: {{"error": "{FULL}"}}\n\n'
        assert exchange.context.rejection == str(FULL)


def test_a_silent_stream_starts_before_its_first_event_and_once() -> None:
    async def scenario() -> None:
        exchange = Exchange()
        running = asyncio.create_task(exchange.run(None, FIRST))
        await until(lambda: len(exchange.sent) >= 3)
        assert [each.get("body") for each in exchange.sent[:3]] == [None, *[b": keep-alive\n\n"] * 2]
        exchange.may_go_on.set()
        await running
        assert (exchange.status, exchange.body) == (200, FIRST)

    asyncio.run(scenario())


def test_a_start_that_is_still_being_sent_precedes_the_first_event() -> None:
    async def scenario() -> None:
        sent: list[Any] = []
        may_send = asyncio.Event()

        async def slow(message: Message) -> None:
            if message["type"] == "http.response.start":
                await may_send.wait()
            sent.append(message["type"])

        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        sender = keep_alive.KeepAliveSender(slow, start)
        await until(lambda: sender.has_started)
        last = asyncio.create_task(sender({"type": "http.response.body", "body": b"x"}))
        await asyncio.sleep(0)
        may_send.set()
        await last
        assert sent == ["http.response.start", "http.response.body"]

    asyncio.run(scenario())


@pytest.mark.parametrize(("steps", "status", "rejection"), [((None,), 400, True), ((FIRST, None), 200, False)])
def test_a_disconnect_closes_the_events(
    steps: tuple[str | None, ...], status: int, rejection: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_alive, "SILENCE_SECONDS", 10)

    async def scenario() -> None:
        exchange, before = Exchange(), asyncio.all_tasks()
        running = asyncio.create_task(exchange.run(*steps))
        await asyncio.sleep(0.05)
        # The request's own, and the one that waits for the disconnect.
        assert len(asyncio.all_tasks() - before) == 2
        exchange.left.set()
        await running
        assert exchange.closed
        assert (exchange.status, bool(exchange.context.rejection)) == (status, rejection)
        await until(lambda: asyncio.all_tasks() == before)

    asyncio.run(scenario())
