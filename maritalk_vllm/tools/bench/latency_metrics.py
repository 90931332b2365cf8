"""Throughput and latency percentiles of a load run."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .load_generator import LoadRun
from .request_result import RequestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Median, 95th and 99th percentile, minimum and maximum of many values."""

    p50: float
    p95: float
    p99: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Percentiles | None":
        """Ignores values that are None; returns None if no value is left."""
        known = sorted(value for value in values if value is not None)
        if not known:
            return None
        return cls(
            p50=statistics.median(known),
            p95=_quantile(known, 0.95),
            p99=_quantile(known, 0.99),
            least=known[0],
            greatest=known[-1],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyMetrics:
    """Metrics of one run: times in seconds, rates over the whole run, failed requests excluded.

    `outside` is the client's latency minus the times that the server reports (queue, prompt and generation together).
    """

    requests: int
    failed: int
    failure: str
    seconds: float
    requests_per_second: float
    generated_tokens_per_second: float
    total_tokens_per_second: float
    latency: Percentiles | None
    time_to_first_token: Percentiles | None
    inter_token: Percentiles | None
    queue_time: Percentiles | None
    prompt_time: Percentiles | None
    generation_time: Percentiles | None
    outside: Percentiles | None

    @classmethod
    def of(cls, run: LoadRun) -> "LatencyMetrics":
        """Compute the metrics of one run."""
        succeeded = [result for result in run.results if not result.failure]
        failed = [result for result in run.results if result.failure]
        generated = sum(result.completion_tokens for result in succeeded)
        prompts = sum(result.prompt_tokens for result in succeeded)

        def percentiles(value: Callable[[RequestResult], float | None]) -> Percentiles | None:
            return Percentiles.of(map(value, succeeded))

        return cls(
            requests=len(succeeded),
            failed=len(failed),
            failure=failed[0].failure if failed else "",
            seconds=run.seconds,
            requests_per_second=len(succeeded) / run.seconds,
            generated_tokens_per_second=generated / run.seconds,
            total_tokens_per_second=(prompts + generated) / run.seconds,
            latency=percentiles(lambda each: each.seconds),
            time_to_first_token=percentiles(lambda each: each.time_to_first_token),
            inter_token=percentiles(lambda each: each.inter_token_seconds),
            queue_time=percentiles(lambda each: each.queue_time),
            prompt_time=percentiles(lambda each: each.prompt_time),
            generation_time=percentiles(lambda each: each.generation_time),
            outside=percentiles(_outside),
        )


def _outside(result: RequestResult) -> float | None:
    times = (result.queue_time, result.prompt_time, result.generation_time)
    known = [each for each in times if each is not None]
    return result.seconds - sum(known) if len(known) == len(times) else None


def _quantile(values: Sequence[float], share: float) -> float:
    """Nearest-rank quantile of the sorted `values`; `share` is between 0 and 1."""
    return values[min(len(values) - 1, int(share * len(values)))]
