"""Rate limits per API key: requests and tokens per minute, and answers in progress."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from maritalk_vllm.engine.request_context import CONTEXT, RequestContext
from maritalk_vllm.engine.request_usage import RequestUsage
from maritalk_vllm.errors import MariTalkError, RequestError, TooManyRequests
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.middleware.rate_limit import RateLimits, Usage
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.server.middleware.usage_window import UsageWindow
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.settings import TimeUnit
from tests.counting import generated, request_metrics

Answer = tuple[int, dict[str, str], bytes]
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
WHOLE: Message = {"type": "http.response.body", "body": b"whole"}


class Work:
    """A route of the engine: it reserves the maximum that the request may use, and then uses some of it."""

    def __init__(self, prompt: int = 4, answers: int = 1, most: int = 6, used: int | None = None, **how: Any) -> None:
        """`used`: tokens of the answers, by default the maximum. `how`: is_open, begins_before, waits."""
        self.prompt, self.answers, self.most = prompt, answers, most
        self.used = answers * most if used is None else used
        self.is_open = how.get("is_open", False)
        self.begins_before = how.get("begins_before", False)
        self.waits = how.get("waits")
        self.taken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = usage_of(scope)
        if self.begins_before:
            # As vLLM's streams of the responses API do.
            await send(START)
            await send({"type": "http.response.body", "body": b"created", "more_body": True})
        if account.allowance is not None:
            try:
                account.allowance.take(self.prompt, self.answers, self.most, is_open=self.is_open)
            except MariTalkError as error:
                await send({"type": "http.response.body", "body": str(error).encode()})
                return
        self.taken += 1
        account.admit(self.prompt, generated(self.used))
        if self.waits is not None:
            await self.waits.wait()
        if not self.begins_before:
            await send(START)
        await send(WHOLE)


async def _done(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START)
    await send(WHOLE)


def usage_of(scope: Scope) -> RequestUsage:
    context: RequestContext = scope[CONTEXT]
    return context.usage


async def ask(limits: RateLimits, key: str | None = "a", method: str = "POST", path: str = "/generate") -> Answer:
    seen: list[Message] = []

    async def send(message: Message) -> None:
        seen.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    context = RequestContext(key_digest=key)
    await limits({"type": "http", "method": method, "path": path, CONTEXT: context}, receive, send)
    headers = {name.decode(): value.decode() for name, value in seen[0]["headers"]}
    return seen[0]["status"], headers, b"".join(each.get("body", b"") for each in seen)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()

    asyncio.run(whole())


def test_requests_per_minute(clock: Clock) -> None:
    async def scenario() -> None:
        limits = RateLimits(Work(), Usage(3, None))
        for _ in range(3):
            assert (await ask(limits))[0] == 200
        clock.now += 20
        status, headers, body = await ask(limits)
        assert (status, headers["retry-after"]) == (429, "40")
        assert b"used up its 3 requests a minute. Wait 40 s." in body
        assert (await ask(limits, "b"))[0] == 200
        assert (await ask(limits, "a", "GET"))[0] == 200
        clock.now += 40
        assert (await ask(limits))[0] == 200

    run(scenario)


def test_the_wall_clock_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        limits = RateLimits(Work(), Usage(1, None))
        assert (await ask(limits))[0] == 200
        monkeypatch.setattr(time, "time", lambda: 0.0)
        status, headers, _ = await ask(limits)
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 60

    run(scenario)


def test_tokens_per_minute(clock: Clock) -> None:
    async def scenario() -> None:
        limits = RateLimits(Work(), Usage(None, 25))
        assert [(await ask(limits))[0] for _ in range(3)] == [200, 200, 429]
        assert (await ask(limits, "b"))[0] == 200

    run(scenario)


def test_unused_reserved_tokens_are_released(clock: Clock) -> None:
    async def scenario() -> None:
        limits = RateLimits(Work(prompt=10, most=90, used=10), Usage(None, 100))
        # 100 reserved, 20 charged: 80 remain for the next request.
        assert (await ask(limits))[0] == 200
        status, headers, body = await ask(limits)
        assert (status, headers["retry-after"]) == (429, "60")
        assert b"may come to 100 tokens, and this key has 80 left of its 100 a minute" in body

    run(scenario)


def test_concurrent_requests_together_stay_within_the_limit(clock: Clock) -> None:
    async def scenario() -> None:
        waits = asyncio.Event()
        work = Work(prompt=20, most=180, used=180, waits=waits)
        limits = RateLimits(work, Usage(None, 1000))
        asking = [asyncio.create_task(ask(limits)) for _ in range(60)]
        while sum(each.done() for each in asking) < 55:
            await asyncio.sleep(0)
        rejected = [each.result() for each in asking if each.done()]
        assert {(status, headers["retry-after"]) for status, headers, _ in rejected} == {(429, "1")}
        waits.set()
        statuses = [(await each)[0] for each in asking]
        assert (statuses.count(200), work.taken) == (5, 5)
        assert (await ask(limits))[0] == 429

    run(scenario)


@pytest.mark.parametrize(
    "work", [Work(prompt=4, answers=3, most=6), Work(prompt=17, most=5), Work(prompt=22, is_open=True)]
)
def test_a_request_above_the_limit_is_rejected_without_retry_after(work: Work) -> None:
    async def scenario() -> None:
        status, headers, body = await ask(RateLimits(work, Usage(None, 21)))
        assert status == 400
        assert b"may come to 2" in body and b"limit of 21 a minute" in body
        assert "retry-after" not in headers

    run(scenario)


def test_an_open_answer_reserves_the_remainder_and_its_excess_is_carried_over(clock: Clock) -> None:
    async def scenario() -> None:
        waits = asyncio.Event()
        usage = Usage(None, 100)
        limits = RateLimits(Work(prompt=10, most=8000, used=240, is_open=True, waits=waits), usage)
        first = asyncio.create_task(ask(limits))
        while usage.tokens is None or usage.tokens.remaining("a"):
            await asyncio.sleep(0)
        status, headers, body = await ask(limits)
        assert (status, headers["retry-after"]) == (429, "1")
        assert b"Requests in flight with this key reserve all that is left of its 100 tokens a minute." in body
        assert b"used up" not in body
        waits.set()
        assert (await first)[0] == 200
        # 250 of 100 were charged: the third window has 50 left.
        status, headers, _ = await ask(limits)
        assert (status, headers["retry-after"]) == (429, "120")
        clock.now += 119
        assert (await ask(limits))[0] == 429
        clock.now += 1
        assert (await ask(limits))[0] == 200

    run(scenario)


SHORT, LONG = (10, 1, 90, True), (60, 1, 40, True)
"""Prompts of a request without max_tokens: tokens, answers, the longest answer, whether it may fill the context."""
CAPPED = (10, 1, 50, False)
"""The short prompt with max_tokens 50 and a context of 100 tokens, which leaves 40 for the long prompt."""


@pytest.mark.parametrize(
    ("takes", "limit", "charged", "reserved"),
    [
        ([SHORT, LONG], 100, 0, 100),
        ([SHORT, LONG], 72, 0, 72),
        ([SHORT, LONG], 71, 0, RequestError),
        ([SHORT, LONG], 100, 28, 72),
        ([SHORT, LONG], 100, 29, TooManyRequests),
        ([SHORT, LONG], 1000, 0, 200),
        ([SHORT] * 5, 100, 0, 100),
        ([CAPPED, LONG], 121, 0, 121),
        ([CAPPED, LONG], 120, 0, RequestError),
        ([CAPPED, LONG], 150, 30, TooManyRequests),
        ([CAPPED, LONG], 500, 0, 160),
        ([(10, 3, 30, True)], 99, 0, RequestError),
    ],
)
def test_the_reservation_does_not_depend_on_the_order_of_prompts(
    clock: Clock, takes: list[tuple[int, int, int, bool]], limit: int, charged: int, reserved: int | type[Exception]
) -> None:
    assert reserved_by(takes, limit, charged) == reserved
    assert reserved_by(takes[::-1], limit, charged) == reserved


def reserved_by(takes: list[tuple[int, int, int, bool]], limit: int, charged: int) -> int | type[Exception]:
    """Return the tokens that a request reserves, or the type of its error, and check that it releases them."""
    usage, seen = Usage(None, limit), 0
    assert usage.tokens is not None
    window = usage.tokens
    window.charge("a", charged)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal seen
        account = usage_of(scope)
        assert account.allowance is not None
        for prompt, answers, most, is_open in takes:
            account.allowance.take(prompt, answers, most, is_open=is_open)
        seen = limit - charged - window.remaining("a")
        await send(START)
        await send(WHOLE)

    status, _, _ = asyncio.run(ask(RateLimits(route, usage)))
    assert window.remaining("a") == limit - charged
    if status == 200:
        return seen
    return RequestError if status == 400 else TooManyRequests


def test_a_new_limit_keeps_the_usage(clock: Clock) -> None:
    """Usage within the old limit is not carried over beyond one window of the new limit."""

    def charged(amount: int, limit: int) -> int:
        window = UsageWindow(100, "tokens")
        window.charge("a", amount)
        window.reserve("a", 5)
        window.set_limit(limit)
        return limit - 5 - window.remaining("a")

    expected = {(30, 1000): 30, (30, 50): 30, (90, 50): 50, (150, 50): 100, (150, 1000): 150, (150, 100): 150}
    assert {each: charged(*each) for each in expected} == expected


def test_a_reload_keeps_the_usage(clock: Clock) -> None:
    waits = asyncio.Event()

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            await Work(answers=2, most=10, waits=waits)(scope, receive, send)
        else:
            await Work(answers=1, most=10)(scope, receive, send)

    async def scenario() -> None:
        access = AccessConfig(
            digests=(hash_key("key"),), requests_per_minute=6, tokens_per_minute=100, answers_per_key=2
        )
        stack = MiddlewareStack(inside, access, ServerState(), TimeUnit.SECONDS, request_metrics(), page=False)
        transport = httpx.ASGITransport(stack)
        headers = {"Authorization": "Bearer key"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            waiting = asyncio.create_task(client.post("/waits"))
            for _ in range(100):
                await asyncio.sleep(0)
            for changed in ({"logged": False}, {"answers_per_key": 2, "max_body_bytes": 5}, {"answers_per_key": 1}):
                access = replace(access, **changed)
                stack.update(access)
                answer = await client.post("/")
                assert answer.status_code == 429
                assert "has 2 answers in progress" in answer.text
            waits.set()
            assert (await waiting).status_code == 200
            # 24 tokens and 4 requests were charged so far.
            stack.update(replace(access, tokens_per_minute=24))
            assert "used up its 24 tokens" in (await client.post("/")).text
            stack.update(replace(access, requests_per_minute=4))
            assert "used up its 4 requests" in (await client.post("/")).text
            stack.update(replace(access, requests_per_minute=5))
            assert [(await client.post("/")).status_code for _ in range(2)] == [200, 429]
            stack.update(replace(access, requests_per_minute=None))
            assert (await client.post("/")).status_code == 200

    run(scenario)


def test_a_cancelled_or_failed_request_is_charged_and_releases_its_reservation(clock: Clock) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await Work(prompt=30, most=60, used=10)(scope, receive, _discard)
        raise asyncio.CancelledError if scope["method"] == "PUT" else RuntimeError("broken")

    async def scenario() -> None:
        usage = Usage(None, 100)
        limits = RateLimits(failing, usage)
        with pytest.raises(RuntimeError):
            await ask(limits)
        with pytest.raises(asyncio.CancelledError):
            await ask(limits, "b", "PUT")
        assert usage.tokens is not None
        assert (usage.tokens.remaining("a"), usage.tokens.remaining("b")) == (60, 60)

    run(scenario)


async def _discard(message: Message) -> None:
    return


def test_a_response_started_before_admission_is_replaced_by_the_rejection(clock: Clock) -> None:
    async def scenario() -> None:
        limits = RateLimits(Work(begins_before=True), Usage(None, 15))
        assert await ask(limits) == (200, {}, b"createdwhole")
        status, _, body = await ask(limits)
        assert status == 429
        assert b"created" not in body

    run(scenario)


def test_without_an_engine_each_part_is_forwarded_at_once() -> None:
    waits = asyncio.Event()

    async def passing(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await waits.wait()
        await send(WHOLE)

    async def scenario() -> None:
        seen: list[Message] = []

        async def send(message: Message) -> None:
            seen.append(message)

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        limits = RateLimits(passing, Usage(None, 100), lambda: 5, has_engine=False)
        scope = {"type": "http", "method": "POST", "path": "/", CONTEXT: RequestContext(key_digest="a")}
        asking = asyncio.create_task(limits(scope, receive, send))
        for _ in range(10):
            await asyncio.sleep(0)
        assert [each.get("body") for each in seen] == [None, b"first"]
        waits.set()
        await asking

    run(scenario)


def test_limit_of_answers_in_progress(clock: Clock) -> None:
    async def scenario() -> None:
        waits = asyncio.Event()
        usage = Usage(None, None)
        limits = RateLimits(Work(answers=2, waits=waits), usage, lambda: 5)
        asking = [asyncio.create_task(ask(limits)) for _ in range(3)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        status, headers, body = asking[2].result()
        assert (status, headers["retry-after"]) == (429, "1")
        assert b"has 4 answers in progress, and the request asks for 2 more: the limit is 5 at once" in body
        waits.set()
        assert [(await each)[0] for each in asking[:2]] == [200, 200]
        assert (await ask(limits))[0] == 200
        assert not usage.answers

    run(scenario)


def test_more_answers_than_the_limit_in_one_request() -> None:
    async def scenario() -> None:
        status, headers, body = await ask(RateLimits(Work(answers=6), Usage(None, None), lambda: 5))
        assert status == 400
        assert b"more answers than the 5 that an API key may have in progress" in body
        assert "retry-after" not in headers

    run(scenario)


def test_files_and_batches_need_no_tokens_but_count_as_requests(clock: Clock) -> None:
    async def scenario() -> None:
        limits = RateLimits(Work(prompt=1, most=0), usage := Usage(4, 10))
        assert usage.tokens is not None
        usage.tokens.charge("a", 10)
        assert (await ask(limits))[0] == 429
        paths = ("/v1/files", "/api/files", "/v1/batches", "/api/v1/batches/batch_1/cancel", "/v1/files")
        app = RateLimits(_done, usage)
        assert [(await ask(app, path=path))[0] for path in paths] == [200] * 4 + [429]

    run(scenario)


def test_without_limits_or_without_a_key_nothing_is_rejected() -> None:
    async def scenario() -> None:
        for limits, key in (
            (RateLimits(Work(), Usage(None, None)), "a"),
            (RateLimits(Work(), Usage(1, 1), lambda: 1), None),
        ):
            assert {(await ask(limits, key))[0] for _ in range(5)} == {200}

    run(scenario)


def test_unused_windows_do_not_accumulate(clock: Clock) -> None:
    window = UsageWindow(10, "tokens")
    window.charge("a", 10)
    clock.now += 3 * 3600 + 30
    assert window.remaining("a") == 10
    window.charge("a", 10)
    assert window.wait_seconds("a", 1) == 60
