"""Who waits for `service_tier: "flex"`, and which tier an answer names."""

import asyncio
import json

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from maritalk_vllm.api.flex_queue import MAX_WAITING, FlexQueue
from maritalk_vllm.api.service_tiers import ServiceTiers
from maritalk_vllm.engine.request_context import context_of
from maritalk_vllm.engine.service_tier import ServiceTier
from maritalk_vllm.errors import TooManyRequests
from tests.api.engine_loads import Load
from tests.counting import with_context

CHAT = "/v1/chat/completions"
CHUNKS = [b'data: {"object":"chat.completion.chunk","choices":[]}\n\n', b"data: [DONE]\n\n"]


class Application:
    """Answers with a completion, or with a stream; records the tier of each request."""

    def __init__(self) -> None:
        self.tiers: list[ServiceTier] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context = context_of(scope)
        assert context is not None
        self.tiers.append(context.tier)
        body = json.loads((await receive())["body"])
        is_stream = body.get("stream", False)
        kind = b"text/event-stream" if is_stream else b"application/json"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for part in CHUNKS if is_stream else [b'{"object":"chat.completion","service_tier":null}']:
            await send({"type": "http.response.body", "body": part, "more_body": is_stream})
        if is_stream:
            await send({"type": "http.response.body", "body": b""})


def ask(app: Application, queue: FlexQueue, path: str = CHAT, **body: object) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(with_context(ServiceTiers(app, queue)))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post(path, json=body)

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("given", "tier"),
    [("flex", ServiceTier.FLEX), ("auto", ServiceTier.DEFAULT), ("priority", ServiceTier.DEFAULT)],
)
def test_an_answer_names_its_tier(given: str, tier: ServiceTier) -> None:
    """A tier that would be faster is the default one."""
    app, queue = Application(), FlexQueue(Load(), lambda: 1)
    assert ask(app, queue, service_tier=given).json()["service_tier"] == tier.value
    first, last = ask(app, queue, service_tier=given, stream=True).content.strip().split(b"\n\n")
    assert json.loads(first.removeprefix(b"data: "))["service_tier"] == tier.value
    assert last == b"data: [DONE]"
    assert app.tiers == [tier, tier]


def test_a_request_without_the_field_passes_unchanged() -> None:
    app, queue = Application(), FlexQueue(Load(), lambda: 1)
    assert ask(app, queue).content == b'{"object":"chat.completion","service_tier":null}'
    assert ask(app, queue, path="/v1/other", service_tier="flex").json()["service_tier"] is None
    assert app.tiers == [ServiceTier.DEFAULT] * 2


def test_flex_is_rejected_when_no_place_gets_free_in_time() -> None:
    load, app = Load(), Application()
    load.unfinished = 2
    queue = FlexQueue(load, lambda: 0.2)
    rejected = ask(app, queue, service_tier="flex")
    assert (rejected.status_code, rejected.headers["retry-after"]) == (429, "30")
    assert "no place for this request within 0.2 s" in rejected.json()["error"]["message"]
    assert app.tiers == []
    assert ask(app, queue, service_tier="default").status_code == 200
    load.lines = 1  # a line of a batch makes room
    assert ask(app, queue, service_tier="flex").status_code == 200


def test_flex_requests_get_their_places_in_turn() -> None:
    async def run() -> list[int]:
        load, order = Load(), list[int]()
        load.unfinished = 2
        queue = FlexQueue(load, lambda: 30)

        async def wait(number: int) -> None:
            await queue.wait()
            order.append(number)
            load.unfinished += 1

        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(wait(number)))
            await asyncio.sleep(0)
        for _ in tasks:
            load.unfinished = 1
            await asyncio.wait(tasks, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            tasks = [each for each in tasks if not each.done()]
        return order

    assert asyncio.run(run()) == [0, 1, 2]


def test_free_places_are_granted_together() -> None:
    async def run() -> list[bool]:
        load = Load()
        load.unfinished = 2
        queue = FlexQueue(load, lambda: 30)
        tasks = [asyncio.create_task(queue.wait()) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # its client has disconnected
        await asyncio.sleep(0)
        load.unfinished = 0
        await asyncio.wait(tasks[1:3], timeout=5)
        load.unfinished = 2
        return [each.done() for each in tasks]

    assert asyncio.run(run()) == [True, True, True, False]


def test_the_load_is_read_once_for_all_that_wait() -> None:
    class CountedLoad(Load):
        reads = 0

        @property
        def unfinished(self) -> int:  # type: ignore[override]
            self.reads += 1
            return 2

    async def run() -> int:
        load = CountedLoad()
        queue = FlexQueue(load, lambda: 0.35)
        await asyncio.gather(*(queue.wait() for _ in range(100)), return_exceptions=True)
        return load.reads

    assert asyncio.run(run()) < 10


def test_a_full_queue_rejects_at_once() -> None:
    async def run() -> None:
        load = Load()
        load.unfinished = 2
        queue = FlexQueue(load, lambda: 30)
        tasks = [asyncio.create_task(queue.wait()) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests, match="wait already"):
            await queue.wait()
        for each in tasks:
            each.cancel()

    asyncio.run(run())
