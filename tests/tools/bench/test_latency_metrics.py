"""Metrics of a load run."""

import asyncio
import time

import pytest

from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics, Percentiles
from maritalk_vllm.tools.bench.load_generator import LoadRun, run_closed_loop, run_open_loop
from maritalk_vllm.tools.bench.request_result import RequestResult


def request_result(seconds: float, **more: object) -> RequestResult:
    return RequestResult(began=10.0, ended=10.0 + seconds, **more)  # type: ignore[arg-type]


def test_percentiles() -> None:
    percentiles = Percentiles.of([None, 3.0, 1.0, 2.0])
    assert percentiles == Percentiles(p50=2.0, p95=3.0, p99=3.0, least=1.0, greatest=3.0)
    assert Percentiles.of([None]) is None
    hundred = Percentiles.of(map(float, range(1, 101)))
    assert hundred is not None
    assert (hundred.p95, hundred.p99) == (96.0, 100.0)


def test_rates_exclude_failed_requests() -> None:
    good = request_result(
        2.0, prompt_tokens=10, completion_tokens=5, queue_time=0.1, prompt_time=0.2, generation_time=1.5
    )
    metrics = LatencyMetrics.of(LoadRun((good, good, request_result(1.0, failure="503: full")), 4.0))
    assert (metrics.requests, metrics.failed, metrics.failure) == (2, 1, "503: full")
    assert (metrics.requests_per_second, metrics.generated_tokens_per_second) == (0.5, 2.5)
    assert metrics.total_tokens_per_second == 7.5
    assert metrics.outside is not None
    assert metrics.outside.p50 == pytest.approx(0.2)


def test_time_to_first_token_of_a_stream() -> None:
    streamed = request_result(3.0, texts_at=(10.5, 11.0, 12.5), completion_tokens=5)
    assert (streamed.time_to_first_token, streamed.inter_token_seconds) == (0.5, 0.5)
    assert request_result(3.0, completion_tokens=5).time_to_first_token is None


def test_closed_loop_never_exceeds_its_users() -> None:
    in_flight = peak = 0

    async def send(number: int) -> RequestResult:
        nonlocal in_flight, peak
        in_flight += 1
        peak = max(peak, in_flight)
        await asyncio.sleep(0.001)
        in_flight -= 1
        return request_result(float(number))

    run = asyncio.run(run_closed_loop(send, 3, 20))
    assert sorted(each.seconds for each in run.results) == [float(number) for number in range(20)]
    assert peak == 3


def test_open_loop_does_not_wait_for_responses() -> None:
    started = []

    async def send(number: int) -> RequestResult:
        started.append(time.monotonic())
        await asyncio.sleep(1)
        return request_result(1.0)

    run = asyncio.run(run_open_loop(send, rate=100, seconds=0.5))
    assert len(run.results) == len(started) > 20
    assert started[-1] - started[0] < 1
