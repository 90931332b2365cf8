"""Comments in silent streams, and the tasks held by a client that stops reading."""

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
    """Receives messages while `reads` is set."""

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


def test_silent_stream_gets_comments_until_stopped() -> None:
    async def scenario() -> None:
        client = Client()
        sender = KeepAliveSender(client)
        await sender(START)
        await sender(PART)
        await until(lambda: client.got.count(b": keep-alive\n\n") >= 3)
        sender.stop()
        count = len(client.got)
        await asyncio.sleep(5 * SILENCE)
        assert len(client.got) == count

    asyncio.run(scenario())


def test_client_that_stops_reading_in_silence_holds_one_task() -> None:
    async def scenario() -> None:
        client = Client()
        sender = KeepAliveSender(client)
        await sender(START)
        client.reads.clear()
        await until(lambda: client.waiting)
        before = asyncio.all_tasks()
        await asyncio.sleep(10 * SILENCE)
        assert (client.waiting, asyncio.all_tasks()) == (1, before)
        # `stop` ends that task, although the client never reads again.
        sender.stop()
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
        assert client.waiting == 0

    asyncio.run(scenario())


def test_client_that_stops_reading_an_event_holds_no_task() -> None:
    async def scenario() -> None:
        client = Client()
        sender = KeepAliveSender(client)
        await sender(START)
        client.reads.clear()
        sending = asyncio.create_task(sender(PART))
        await asyncio.sleep(10 * SILENCE)
        assert client.waiting == 1
        client.reads.set()
        await sending
        assert client.got == [b"", PART["body"]]
        await until(lambda: client.got[-1] == b": keep-alive\n\n")
        sender.stop()

    asyncio.run(scenario())
