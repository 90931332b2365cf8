"""The ratios of a comparison: of the loads of one round, with their spread, and when there are enough rounds."""

import itertools
from typing import Any

import pytest

from benchmarks import ratios
from benchmarks.compare import WIRES, Measured, Shape, interference, rows
from benchmarks.processes import CpuTimes
from benchmarks.results import table
from benchmarks.targets import VLLM, Ours
from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics, Percentiles

SHAPE = Shape(8)


def measured(target: str, wire: str, number: int, rate: float, cpu: float = 1.0) -> Measured:
    seconds = Percentiles(p50=1 / rate, p95=1.0, p99=1.0, least=1.0, greatest=1.0)
    unknown: dict[str, Any] = dict.fromkeys(("queue_time", "prompt_time", "generation_time", "outside"))
    stream = seconds if wire.endswith("stream") else None
    figures = LatencyMetrics(
        requests=100,
        failed=0,
        failure="",
        seconds=100 / rate,
        requests_per_second=rate,
        generated_tokens_per_second=32 * rate,
        total_tokens_per_second=64 * rate,
        latency=seconds,
        time_to_first_token=stream,
        inter_token=stream,
        **unknown,
    )
    return Measured(
        target=target,
        wire=wire,
        shape=SHAPE,
        round=number,
        figures=figures,
        gap=stream,
        cpu=CpuTimes(cpu, 2 * cpu),
        client_cpu=0.5,
        completion_tokens=3200,
        steal=0.01,
        others=0.2,
    )


def run(rates: list[float], their_rates: list[float]) -> list[Measured]:
    """Rounds in which each API of a server has the same rate."""
    found = []
    for number, (ours, theirs) in enumerate(zip(rates, their_rates, strict=True), start=1):
        for (target, rate, cpu), wire in itertools.product([(Ours, ours, 1.0), (VLLM, theirs, 4.0)], WIRES):
            found.append(measured(target.name, wire, number, rate, cpu))
    return found


def test_a_ratio_is_of_the_loads_of_one_round() -> None:
    """The machine became half as fast in each round, which the ratios do not show."""
    found = ratios.ratios(run([80, 40, 20, 10, 5], [40, 20, 10, 5, 2.5]), [SHAPE])
    by_name = {each.name: each for each in found}
    rate = by_name["requests/s, openai-chat / vLLM's own, 8 at once, counting, 32 tokens"]
    assert (rate.median, rate.spread, rate.target) == (2.0, 0.0, ">= 1")
    cpu = by_name["API CPU a request, generate / vLLM's own, openai-chat, 8 at once, counting, 32 tokens"]
    assert (cpu.median, cpu.spread) == (0.25, 0.0)
    first = by_name["time to first token, openai-chat-stream / vLLM's own, 8 at once, counting, 32 tokens"]
    assert first.median == 0.5
    # Targets that were not run have no ratio.
    assert not any("engine alone" in name or "--stream-interval" in name for name in by_name)
    assert len(ratios.table(found)) == 2 + len(found)


def test_spread_is_the_notch_of_a_box_plot() -> None:
    assert ratios.spread([1.0, 2.0, 3.0]) is None
    assert ratios.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1.57 * 2 / 5**0.5)


@pytest.mark.parametrize(
    ("rates", "seconds", "enough"),
    [
        ([10, 10, 10, 10, 10], 3600, True),
        # Fewer than five rounds, and ratios that differ by a third.
        ([10, 10, 10, 10], 3600, False),
        ([10, 13, 10, 13, 10], 3600, False),
        # The time has passed: the existing rounds must suffice, but not before the first one.
        ([10, 13], -1, True),
        ([], -1, False),
    ],
)
def test_rounds_end_with_the_spread_or_the_time(rates: list[float], seconds: float, enough: bool) -> None:
    is_enough = ratios.until_settled([SHAPE], rounds=5, share=0.05, seconds=seconds)
    assert is_enough(run(rates, [10.0] * len(rates))) is enough


def test_rows_have_the_times_of_each_process() -> None:
    (row, *_) = rows(run([10, 20, 30], [10, 20, 30]))
    times = (row.cpu_per_request, row.other_cpu_per_request, row.client_cpu_per_request)
    assert times == (0.01, 0.02, 0.005)
    assert "8 at once, counting, 32 tokens" in table([row])[-1]
    assert "20.0%" in interference(run([10], [10]))
