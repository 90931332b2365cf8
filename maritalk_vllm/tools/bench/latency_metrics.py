"""What a run comes to."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .load_generator import LoadRun
from .request_result import RequestResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of many values: the middle, what 95 and 99 of a hundred do not exceed, the least and the greatest."""

    p50: float
    p95: float
    p99: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """None of no values; those that are None are left out."""
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
    """Seconds, tokens and requests; rates are those of the whole run, failures left out.

    `inside` is what the server reports that a request took (queue, prompt and generation together); `outside` is what
    its client waited beyond that.
    """

    requests: int
    failed: int
    failure: str
    seconds: float
    requests_per_second: float
    generated_tokens_per_second: float
    total_tokens_per_second: float
    latency: Spread | None
    time_to_first_token: Spread | None
    inter_token: Spread | None
    queue_time: Spread | None
    prompt_time: Spread | None
    generation_time: Spread | None
    outside: Spread | None

    @classmethod
    def of(cls, run: LoadRun) -> "LatencyMetrics":
        """The figures of one run."""
        good = [outcome for outcome in run.outcomes if not outcome.failure]
        bad = [outcome for outcome in run.outcomes if outcome.failure]
        generated = sum(outcome.completion_tokens for outcome in good)
        prompts = sum(outcome.prompt_tokens for outcome in good)

        def spread(value: Callable[[RequestResult], float | None]) -> Spread | None:
            return Spread.of(map(value, good))

        return cls(
            requests=len(good),
            failed=len(bad),
            failure=bad[0].failure if bad else "",
            seconds=run.seconds,
            requests_per_second=len(good) / run.seconds,
            generated_tokens_per_second=generated / run.seconds,
            total_tokens_per_second=(prompts + generated) / run.seconds,
            latency=spread(lambda each: each.seconds),
            time_to_first_token=spread(lambda each: each.time_to_first_token),
            inter_token=spread(lambda each: each.inter_token_seconds),
            queue_time=spread(lambda each: each.queue_time),
            prompt_time=spread(lambda each: each.prompt_time),
            generation_time=spread(lambda each: each.generation_time),
            outside=spread(_outside),
        )


def _outside(outcome: RequestResult) -> float | None:
    times = (outcome.queue_time, outcome.prompt_time, outcome.generation_time)
    known = [each for each in times if each is not None]
    return outcome.seconds - sum(known) if len(known) == len(times) else None


def _quantile(values: Sequence[float], share: float) -> float:
    """The least of the sorted `values` that this share of them does not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))]
