"""What a load comes to."""

import asyncio
import time

import pytest

from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics, Percentiles
from maritalk_vllm.tools.bench.load_generator import LoadRun, run_closed_loop, run_open_loop
from maritalk_vllm.tools.bench.request_result import RequestResult


def outcome(seconds: float, **more: object) -> RequestResult:
    return RequestResult(began=10.0, ended=10.0 + seconds, **more)  # type: ignore[arg-type]


def test_spread() -> None:
    spread = Percentiles.of([None, 3.0, 1.0, 2.0])
    assert spread == Percentiles(p50=2.0, p95=3.0, p99=3.0, least=1.0, greatest=3.0)
    assert Percentiles.of([None]) is None
    hundred = Percentiles.of(map(float, range(1, 101)))
    assert hundred is not None
    assert (hundred.p95, hundred.p99) == (96.0, 100.0)


def test_rates_count_what_was_answered() -> None:
    good = outcome(2.0, prompt_tokens=10, completion_tokens=5, queue_time=0.1, prompt_time=0.2, generation_time=1.5)
    figures = LatencyMetrics.of(LoadRun((good, good, outcome(1.0, failure="503: full")), 4.0))
    assert (figures.requests, figures.failed, figures.failure) == (2, 1, "503: full")
    assert (figures.requests_per_second, figures.generated_tokens_per_second) == (0.5, 2.5)
    assert figures.total_tokens_per_second == 7.5
    assert figures.outside is not None
    assert figures.outside.p50 == pytest.approx(0.2)


def test_a_stream() -> None:
    streamed = outcome(3.0, texts_at=(10.5, 11.0, 12.5), completion_tokens=5)
    assert (streamed.time_to_first_token, streamed.inter_token_seconds) == (0.5, 0.5)
    assert outcome(3.0, completion_tokens=5).time_to_first_token is None


def test_so_many_users_and_no_more() -> None:
    at_once = most = 0

    async def ask(number: int) -> RequestResult:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        return outcome(float(number))

    run = asyncio.run(run_closed_loop(ask, 3, 20))
    assert sorted(each.seconds for each in run.outcomes) == [float(number) for number in range(20)]
    assert most == 3


def test_arrivals_wait_for_nobody() -> None:
    begun = []

    async def ask(number: int) -> RequestResult:
        begun.append(time.monotonic())
        await asyncio.sleep(1)
        return outcome(1.0)

    run = asyncio.run(run_open_loop(ask, rate=100, seconds=0.5))
    assert len(run.outcomes) == len(begun) > 20
    assert begun[-1] - begun[0] < 1
