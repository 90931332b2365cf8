"""Requests and tokens a minute, and answers in progress, for each key by itself."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from maritalk_vllm.engine.request_usage import RequestUsage, current
from maritalk_vllm.errors import MariTalkError, RequestError, TooManyRequests
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import KEY, hash_key
from maritalk_vllm.server.middleware.rate_limit import RateLimits, Usage
from maritalk_vllm.server.middleware.usage_window import UsageWindow
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.settings import TimeUnit
from tests.counting import generated, request_metrics

Answer = tuple[int, dict[str, str], bytes]
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
WHOLE: Message = {"type": "http.response.body", "body": b"whole"}


class Work:
    """A route as they stand before the engine: it takes what it may come to, and then uses some of it."""

    def __init__(self, prompt: int = 4, answers: int = 1, most: int = 6, used: int | None = None, **how: Any) -> None:
        """`used`: tokens of the answers, all of what was asked for by default. `how`: is_open, begins_before, fails."""
        self.prompt, self.answers, self.most = prompt, answers, most
        self.used = answers * most if used is None else used
        self.is_open = how.get("is_open", False)
        self.begins_before = how.get("begins_before", False)
        self.waits = how.get("waits")
        self.taken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = current.get()
        assert account is not None
        if self.begins_before:
            # As vLLM's streams of responses do.
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


async def ask(quotas: RateLimits, key: str | None = "a", method: str = "POST") -> Answer:
    seen: list[Message] = []

    async def send(message: Message) -> None:
        seen.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    token = current.set(RequestUsage())
    try:
        await quotas({"type": "http", "method": method, "path": "/generate", KEY: key}, receive, send)
    finally:
        current.reset(token)
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


def test_so_many_requests(clock: Clock) -> None:
    async def scenario() -> None:
        quotas = RateLimits(Work(), Usage(3, None))
        for _ in range(3):
            assert (await ask(quotas))[0] == 200
        clock.now += 20
        status, headers, body = await ask(quotas)
        assert (status, headers["retry-after"]) == (429, "40")
        assert b"used up its 3 requests a minute. Wait 40 s." in body
        assert (await ask(quotas, "b"))[0] == 200
        assert (await ask(quotas, "a", "GET"))[0] == 200
        clock.now += 40
        assert (await ask(quotas))[0] == 200

    run(scenario)


def test_the_wall_clock_has_no_part_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        quotas = RateLimits(Work(), Usage(1, None))
        assert (await ask(quotas))[0] == 200
        monkeypatch.setattr(time, "time", lambda: 0.0)
        status, headers, _ = await ask(quotas)
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 60

    run(scenario)


def test_so_many_tokens(clock: Clock) -> None:
    async def scenario() -> None:
        quotas = RateLimits(Work(), Usage(None, 25))
        assert [(await ask(quotas))[0] for _ in range(3)] == [200, 200, 429]
        assert (await ask(quotas, "b"))[0] == 200

    run(scenario)


def test_what_an_answer_does_not_use_is_given_back(clock: Clock) -> None:
    async def scenario() -> None:
        quotas = RateLimits(Work(prompt=10, most=90, used=10), Usage(None, 100))
        # 100 reserved, 20 charged: the next one would have to fit into 80.
        assert (await ask(quotas))[0] == 200
        status, headers, body = await ask(quotas)
        assert (status, headers["retry-after"]) == (429, "60")
        assert b"may come to 100 tokens, and this key has 80 left of its 100 a minute" in body

    run(scenario)


def test_parallel_requests_do_not_pass_the_limit_together(clock: Clock) -> None:
    async def scenario() -> None:
        waits = asyncio.Event()
        work = Work(prompt=20, most=180, used=180, waits=waits)
        quotas = RateLimits(work, Usage(None, 1000))
        asking = [asyncio.create_task(ask(quotas)) for _ in range(60)]
        while sum(each.done() for each in asking) < 55:
            await asyncio.sleep(0)
        refused = [each.result() for each in asking if each.done()]
        assert {(status, headers["retry-after"]) for status, headers, _ in refused} == {(429, "1")}
        waits.set()
        statuses = [(await each)[0] for each in asking]
        assert (statuses.count(200), work.taken) == (5, 5)
        assert (await ask(quotas))[0] == 429

    run(scenario)


@pytest.mark.parametrize(
    "work", [Work(prompt=4, answers=3, most=6), Work(prompt=17, most=5), Work(prompt=22, is_open=True)]
)
def test_what_never_fits_is_refused_for_good(work: Work) -> None:
    async def scenario() -> None:
        status, headers, body = await ask(RateLimits(work, Usage(None, 21)))
        assert status == 400
        assert b"may come to 2" in body and b"limit of 21 a minute" in body
        assert "retry-after" not in headers

    run(scenario)


def test_an_open_answer_reserves_what_is_left_and_the_next_minutes_pay_for_the_rest(clock: Clock) -> None:
    async def scenario() -> None:
        waits = asyncio.Event()
        usage = Usage(None, 100)
        quotas = RateLimits(Work(prompt=10, most=8000, used=240, is_open=True, waits=waits), usage)
        first = asyncio.create_task(ask(quotas))
        while usage.tokens is None or usage.tokens.remaining("a"):
            await asyncio.sleep(0)
        status, headers, body = await ask(quotas)
        assert (status, headers["retry-after"]) == (429, "1")
        assert b"Requests in flight with this key reserve all that is left of its 100 tokens a minute." in body
        assert b"used up" not in body
        waits.set()
        assert (await first)[0] == 200
        # 250 of 100: the third minute after it has 50 left.
        status, headers, _ = await ask(quotas)
        assert (status, headers["retry-after"]) == (429, "120")
        clock.now += 119
        assert (await ask(quotas))[0] == 429
        clock.now += 1
        assert (await ask(quotas))[0] == 200

    run(scenario)


SHORT, LONG = (10, 1, 90, True), (60, 1, 40, True)
"""Prompts of one request without max_tokens: tokens, answers, the longest answer, whether it fills the context."""
CAPPED = (10, 1, 50, False)
"""As they are where max_tokens is 50, and the context 100: it leaves the long prompt 40."""


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
def test_the_prompts_of_a_request_reserve_the_same_in_every_order(
    clock: Clock, takes: list[tuple[int, int, int, bool]], limit: int, charged: int, reserved: int | type[Exception]
) -> None:
    assert reserved_by(takes, limit, charged) == reserved
    assert reserved_by(takes[::-1], limit, charged) == reserved


def reserved_by(takes: list[tuple[int, int, int, bool]], limit: int, charged: int) -> int | type[Exception]:
    """What a request reserves, or the error that refuses it; nothing stays."""
    usage, seen = Usage(None, limit), 0
    assert usage.tokens is not None
    minute = usage.tokens
    minute.charge("a", charged)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal seen
        account = current.get()
        assert account is not None and account.allowance is not None
        for prompt, answers, most, is_open in takes:
            account.allowance.take(prompt, answers, most, is_open=is_open)
        seen = limit - charged - minute.remaining("a")
        await send(START)
        await send(WHOLE)

    status, _, _ = asyncio.run(ask(RateLimits(route, usage)))
    assert minute.remaining("a") == limit - charged
    if status == 200:
        return seen
    return RequestError if status == 400 else TooManyRequests


def test_a_limit_that_changes_keeps_what_was_used(clock: Clock) -> None:
    """What was within the old limit is no debt of the new one."""

    def charged(amount: int, limit: int) -> int:
        minute = UsageWindow(100, "tokens")
        minute.charge("a", amount)
        minute.reserve("a", 5)
        minute.set_limit(limit)
        return limit - 5 - minute.remaining("a")

    expected = {(30, 1000): 30, (30, 50): 30, (90, 50): 50, (150, 50): 100, (150, 1000): 150, (150, 100): 150}
    assert {each: charged(*each) for each in expected} == expected


def test_a_reload_forgets_no_usage(clock: Clock) -> None:
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
        front = access.build_stack(
            inside, ServerState(), TimeUnit.SECONDS, request_metrics(), page=False, has_engine=True
        )
        transport = httpx.ASGITransport(front)
        headers = {"Authorization": "Bearer key"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            waiting = asyncio.create_task(client.post("/waits"))
            for _ in range(100):
                await asyncio.sleep(0)
            for changed in ({"logged": False}, {"answers_per_key": 2, "max_body_bytes": 5}, {"answers_per_key": 1}):
                access = replace(access, **changed)
                front.update(access)
                answer = await client.post("/")
                assert answer.status_code == 429
                assert "has 2 answers in progress" in answer.text
            waits.set()
            assert (await waiting).status_code == 200
            # 24 tokens and 4 requests until now.
            front.update(replace(access, tokens_per_minute=24))
            assert "used up its 24 tokens" in (await client.post("/")).text
            front.update(replace(access, requests_per_minute=4))
            assert "used up its 4 requests" in (await client.post("/")).text
            front.update(replace(access, requests_per_minute=5))
            assert [(await client.post("/")).status_code for _ in range(2)] == [200, 429]
            front.update(replace(access, requests_per_minute=None))
            assert (await client.post("/")).status_code == 200

    run(scenario)


def test_a_request_that_is_hung_up_or_fails_is_charged_and_gives_its_reservation_back(clock: Clock) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await Work(prompt=30, most=60, used=10)(scope, receive, _drop)
        raise asyncio.CancelledError if scope["method"] == "PUT" else RuntimeError("broken")

    async def scenario() -> None:
        usage = Usage(None, 100)
        quotas = RateLimits(failing, usage)
        with pytest.raises(RuntimeError):
            await ask(quotas)
        with pytest.raises(asyncio.CancelledError):
            await ask(quotas, "b", "PUT")
        assert usage.tokens is not None
        assert (usage.tokens.remaining("a"), usage.tokens.remaining("b")) == (60, 60)

    run(scenario)


async def _drop(message: Message) -> None:
    return


def test_an_answer_that_has_begun_too_soon_is_refused_with_its_status(clock: Clock) -> None:
    async def scenario() -> None:
        quotas = RateLimits(Work(begins_before=True), Usage(None, 15))
        assert await ask(quotas) == (200, {}, b"createdwhole")
        status, _, body = await ask(quotas)
        assert status == 429
        assert b"created" not in body

    run(scenario)


def test_a_gate_passes_each_part_on_at_once() -> None:
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

        current.set(RequestUsage())
        quotas = RateLimits(passing, Usage(None, 100), lambda: 5, has_engine=False)
        asking = asyncio.create_task(quotas({"type": "http", "method": "POST", "path": "/", KEY: "a"}, receive, send))
        for _ in range(10):
            await asyncio.sleep(0)
        assert [each.get("body") for each in seen] == [None, b"first"]
        waits.set()
        await asking

    run(scenario)


def test_answers_in_progress(clock: Clock) -> None:
    async def scenario() -> None:
        waits = asyncio.Event()
        usage = Usage(None, None)
        quotas = RateLimits(Work(answers=2, waits=waits), usage, lambda: 5)
        asking = [asyncio.create_task(ask(quotas)) for _ in range(3)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        status, headers, body = asking[2].result()
        assert (status, headers["retry-after"]) == (429, "1")
        assert b"has 4 answers in progress, and the request asks for 2 more: the limit is 5 at once" in body
        waits.set()
        assert [(await each)[0] for each in asking[:2]] == [200, 200]
        assert (await ask(quotas))[0] == 200
        assert not usage.answers

    run(scenario)


def test_more_answers_than_a_key_may_ever_have() -> None:
    async def scenario() -> None:
        status, headers, body = await ask(RateLimits(Work(answers=6), Usage(None, None), lambda: 5))
        assert status == 400
        assert b"more answers than the 5 that an API key may have in progress" in body
        assert "retry-after" not in headers

    run(scenario)


def test_no_limit_and_no_key() -> None:
    async def scenario() -> None:
        for quotas, key in (
            (RateLimits(Work(), Usage(None, None)), "a"),
            (RateLimits(Work(), Usage(1, 1), lambda: 1), None),
        ):
            assert {(await ask(quotas, key))[0] for _ in range(5)} == {200}

    run(scenario)


def test_a_key_that_comes_back_after_hours_has_one_minute(clock: Clock) -> None:
    minute = UsageWindow(10, "tokens")
    minute.charge("a", 10)
    clock.now += 3 * 3600 + 30
    assert minute.remaining("a") == 10
    minute.charge("a", 10)
    assert minute.wait_seconds("a", 1) == 60
