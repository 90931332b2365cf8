"""What a server was measured to do, and what the simulator says to the same load."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..bench.latency_metrics import Percentiles
from .arrivals import Arrivals, PoissonArrivals, SaturatingUsers
from .replica_model import ReplicaModel
from .simulate import Run
from .token_lengths import Lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Of one load: requests a second, medians and the 95th percentile of latency; seconds. None was not told."""

    requests_per_second: float
    latency_p50: float
    latency_p95: float
    prompt: float | None = None
    generation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkLoad:
    """So many `users` at once, or a `rate` a second; `requests` in all, with these tokens each; what came of it."""

    users: int | None
    rate: float | None
    requests: int
    prompt: int
    answer: int
    outcome: Measurement

    def arrivals(self, longest: int) -> Arrivals:
        """The same requests: at a rate, the very times of bench/load."""
        lengths = Lengths(prompt=self.prompt, answer=self.answer, spread=0.0, longest=longest)
        if self.rate is not None:
            return PoissonArrivals(self.rate, self.requests / self.rate, lengths, seed=0)
        return SaturatingUsers(self.users or 1, self.requests, lengths, seed=0)


def predict(load: BenchmarkLoad, site: ReplicaModel) -> Measurement:
    """What the simulator makes of it."""
    return outcome(site.run(load.arrivals(site.longest), float("inf")))


def outcome(run: Run) -> Measurement:
    """What a simulated run comes to, as `maritalk-vllm bench` would tell it."""
    latency = Percentiles.of(each.latency for each in run.answered)
    assert latency is not None
    prompts = Percentiles.of(each.first - each.began for each in run.answered if each.first and each.began is not None)
    rest = Percentiles.of(each.ended - each.first for each in run.answered if each.ended and each.first)
    return Measurement(
        requests_per_second=len(run.answered) / run.seconds,
        latency_p50=latency.p50,
        latency_p95=latency.p95,
        prompt=prompts.p50 if prompts else None,
        generation=rest.p50 if rest else None,
    )


def read(file: Path) -> list[BenchmarkLoad]:
    """The loads of a file that `maritalk-vllm bench --out FILE` wrote. Raises UsageError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return [load(each) for each in content["loads"]]
    except OSError as error:
        raise UsageError(f"The file {file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise UsageError(
            f"The file {file} is not what a benchmark measured.", "Make one: `maritalk-vllm bench --out FILE`."
        ) from error


def load(told: dict[str, Any]) -> BenchmarkLoad:
    """One load as `bench` tells it. Raises KeyError, TypeError, ValueError or ZeroDivisionError if it is none."""
    rate = told["requests_per_second"]
    answer = told["generated_tokens_per_second"] / rate

    def middle(name: str) -> float | None:
        return told[name]["p50"] if told.get(name) else None

    return BenchmarkLoad(
        users=int(told["users"]) if "users" in told else None,
        rate=float(told["rate"]) if "rate" in told else None,
        requests=told["requests"],
        prompt=max(1, round(told["total_tokens_per_second"] / rate - answer)),
        answer=max(1, round(answer)),
        outcome=Measurement(
            requests_per_second=rate,
            latency_p50=told["latency"]["p50"],
            latency_p95=told["latency"]["p95"],
            prompt=middle("prompt_time"),
            generation=middle("generation_time"),
        ),
    )
