"""Measured loads of a server, and the simulator's prediction for the same loads."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...i18n.message import msg
from ..bench.latency_metrics import Percentiles
from .arrivals import Arrivals, PoissonArrivals, SaturatingUsers
from .replica_model import ReplicaModel
from .simulate import SimulationRun
from .token_lengths import TokenLengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Metrics of one load: requests/s, and in seconds the median and p95 of latency and median phase times.

    A phase time is None where the server does not report it.
    """

    requests_per_second: float
    latency_p50: float
    latency_p95: float
    prompt: float | None = None
    generation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkLoad:
    """A load of `users` concurrent users or `rate` requests/s, its tokens per request, and the measured outcome."""

    users: int | None
    rate: float | None
    requests: int
    prompt: int
    answer: int
    outcome: Measurement

    def arrivals(self, max_model_len: int) -> Arrivals:
        """The same requests; at a rate, with exactly the arrival times of bench/load_generator.py."""
        lengths = TokenLengths(prompt=self.prompt, answer=self.answer, spread=0.0, max_model_len=max_model_len)
        if self.rate is not None:
            return PoissonArrivals(self.rate, self.requests / self.rate, lengths, seed=0)
        return SaturatingUsers(self.users or 1, self.requests, lengths, seed=0)


def predict(load: BenchmarkLoad, replica: ReplicaModel) -> Measurement:
    """Simulate a load."""
    return measure(replica.run(load.arrivals(replica.longest), float("inf")))


def measure(run: SimulationRun) -> Measurement:
    """Metrics of a simulated run, as `maritalk-vllm bench` would report them."""
    latency = Percentiles.of(each.latency for each in run.answered)
    assert latency is not None
    prompts = Percentiles.of(
        each.first_token_at - each.started for each in run.answered if each.first_token_at and each.started is not None
    )
    generation = Percentiles.of(
        each.finished - each.first_token_at for each in run.answered if each.finished and each.first_token_at
    )
    return Measurement(
        requests_per_second=len(run.answered) / run.seconds,
        latency_p50=latency.p50,
        latency_p95=latency.p95,
        prompt=prompts.p50 if prompts else None,
        generation=generation.p50 if generation else None,
    )


def read_loads(file: Path) -> list[BenchmarkLoad]:
    """Read the loads of a file that `maritalk-vllm bench --out FILE` wrote. Raises UsageError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return [parse_load(each) for each in content["loads"]]
    except OSError as error:
        raise UsageError(msg("The file {file} cannot be read: {reason}.", file=file, reason=error.strerror)) from error
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise UsageError(
            msg("The file {file} is not what a benchmark measured.", file=file),
            "Make one: `maritalk-vllm bench --out FILE`.",
        ) from error


def parse_load(row: dict[str, Any]) -> BenchmarkLoad:
    """Parse one load of `bench`. Raises KeyError, TypeError, ValueError or ZeroDivisionError if it is not one."""
    rate = row["requests_per_second"]
    answer = row["generated_tokens_per_second"] / rate

    def median(name: str) -> float | None:
        return row[name]["p50"] if row.get(name) else None

    return BenchmarkLoad(
        users=int(row["users"]) if "users" in row else None,
        rate=float(row["rate"]) if "rate" in row else None,
        requests=row["requests"],
        prompt=max(1, round(row["total_tokens_per_second"] / rate - answer)),
        answer=max(1, round(answer)),
        outcome=Measurement(
            requests_per_second=rate,
            latency_p50=row["latency"]["p50"],
            latency_p95=row["latency"]["p95"],
            prompt=median("prompt_time"),
            generation=median("generation_time"),
        ),
    )
