"""The ratios of a batch beside interactive requests: of the requests of all rounds, and of the total times."""

import pytest

from benchmarks.batches import BatchTime, InteractiveLoad, ratios


def load(*first_tokens: float, batch: bool) -> InteractiveLoad:
    return InteractiveLoad(
        batch=batch, round=1, requests_per_second=1, p50=0, p95=0, lines_per_second=0, first_tokens=first_tokens
    )


def time(target: str, seconds: float) -> BatchTime:
    return BatchTime(target=target, round=1, lines=400, seconds=seconds, lines_per_second=400 / seconds)


def test_rounds_are_taken_together() -> None:
    loads = [load(1.0, 2.0, batch=False), load(2.0, 4.0, batch=False), load(3.0, 3.0, 3.0, 5.0, batch=True)]
    times = [time("ours", 3.0), time("vllm run-batch", 4.0), time("ours", 5.0), time("vllm run-batch", 4.0)]
    assert [value for _, value, _ in ratios(loads, times)] == [pytest.approx(value) for value in (1.25, 1.5, 1.0)]
