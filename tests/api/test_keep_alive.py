"""Comments in silent streams, and what a client that stops reading costs."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.types import Message

from maritalk_vllm.api import keep_alive
from maritalk_vllm.api.keep_alive import KeepAliveSender
from tests.server.wire import until

START: Message = {"type": "http.response.start", "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]}
PART: Message = {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}
SILENCE = 0.02


@pytest.fixture(autouse=True)
def short_silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(keep_alive, "SILENCE_SECONDS", SILENCE)
    yield


class Client:
    """Takes what is sent as long as it reads."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.waiting = 0
        self.reads = asyncio.Event()
        self.reads.set()

    async def __call__(self, message: Message) -> None:
        self.waiting += 1
        try:
            await self.reads.wait()
        finally:
            self.waiting -= 1
        self.got.append(message.get("body", b""))


def test_a_silent_stream_has_comments_until_it_is_stopped() -> None:
    async def scenario() -> None:
        client = Client()
        alive = KeepAliveSender(client)
        await alive(START)
        await alive(PART)
        await until(lambda: client.got.count(b": keep-alive\n\n") >= 3)
        alive.stop()
        count = len(client.got)
        await asyncio.sleep(5 * SILENCE)
        assert len(client.got) == count

    asyncio.run(scenario())


def test_a_client_that_stops_reading_in_a_silence_costs_one_task() -> None:
    async def scenario() -> None:
        client = Client()
        alive = KeepAliveSender(client)
        await alive(START)
        client.reads.clear()
        await until(lambda: client.waiting)
        before = asyncio.all_tasks()
        await asyncio.sleep(10 * SILENCE)
        assert (client.waiting, asyncio.all_tasks()) == (1, before)
        # And it is ended with the stream, though its client never reads again.
        alive.stop()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert client.waiting == 0

    asyncio.run(scenario())


def test_a_client_that_stops_reading_an_event_costs_none() -> None:
    async def scenario() -> None:
        client = Client()
        alive = KeepAliveSender(client)
        await alive(START)
        client.reads.clear()
        sending = asyncio.create_task(alive(PART))
        await asyncio.sleep(10 * SILENCE)
        assert client.waiting == 1
        client.reads.set()
        await sending
        assert client.got == [b"", PART["body"]]
        await until(lambda: client.got[-1] == b": keep-alive\n\n")
        alive.stop()

    asyncio.run(scenario())
