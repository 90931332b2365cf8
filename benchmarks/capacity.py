"""The simulator compared with the real engine: calibrated on a few loads, it predicts others."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from maritalk_vllm.planning.roofline import Efficiency
from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics
from maritalk_vllm.tools.capacity.benchmark_data import BenchmarkLoad, Measurement, parse_load, predict
from maritalk_vllm.tools.capacity.calibrate import calibrate
from maritalk_vllm.tools.capacity.replica_model import ReplicaModel, of_plan

from .load_order import LoadSpec
from .subject import Subject
from .targets import Ours

MAX_TOKENS = 32
WITHIN = 0.2
"""Accepted relative error of the simulator."""

WARMING = (("counting", 4, 4), ("document", 2, 2))
CALIBRATION = (("counting", 1, 5), ("counting", 16, 32), ("document", 1, 3), ("document", 8, 8))
PREDICTED = (("counting", 4, 16), ("counting", 32, 96), ("document", 2, 4), ("document", 4, 8))
"""Prompt, users at once, requests: not many, since a prompt of 550 tokens takes seconds on two cores."""

RATES = (("counting", 0.5, 30), ("counting", 0.85, 30), ("document", 0.6, 50))
"""Prompt, share of the request rate that the largest calibration load of this prompt reached, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric of one load, in seconds or requests a second."""

    load: str
    figure: str
    measured: float
    predicted: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted / self.measured


async def measure(target: Ours) -> tuple[list[BenchmarkLoad], list[BenchmarkLoad], float]:
    """The loads to calibrate with, those to predict, and how much slower the first load is when repeated at the end.

    Raises RuntimeError if a request fails.
    """
    first = 0

    async def run_load(prompt: str, requests: int, *, users: int = 0, rate: float | None = None) -> BenchmarkLoad:
        nonlocal first
        load_spec = LoadSpec(
            wire="generate",
            users=users,
            rate=rate,
            requests=requests,
            max_tokens=MAX_TOKENS,
            prompt=prompt,
            first=first,
        )
        first += 2 * requests
        found = _load(await target.metrics(load_spec), load_spec)
        print(f"{_name(found)}: {found.outcome.latency_p50:.2f} s", file=sys.stderr, flush=True)
        return found

    for prompt, users, requests in WARMING:
        await run_load(prompt, requests, users=users)
    known = [await run_load(prompt, requests, users=users) for prompt, users, requests in CALIBRATION]
    others = [await run_load(prompt, requests, users=users) for prompt, users, requests in PREDICTED]
    full = {prompt: each.outcome.requests_per_second for (prompt, *_), each in zip(CALIBRATION, known, strict=True)}
    for prompt, share, seconds in RATES:
        rate = share * full[prompt]
        others.append(await run_load(prompt, round(rate * seconds), rate=rate))
    prompt, users, requests = CALIBRATION[0]
    again = await run_load(prompt, requests, users=users)
    return known, others, again.outcome.latency_p50 / known[0].outcome.latency_p50


def _load(metrics: LatencyMetrics, load_spec: LoadSpec) -> BenchmarkLoad:
    """The load with the requested number of requests: at a rate, the number that arrived is random."""
    row = asdict(metrics) | ({"users": load_spec.users} if load_spec.rate is None else {"rate": load_spec.rate})
    return replace(parse_load(row), requests=load_spec.requests)


def replica_model(subject: Subject, folder: Path, known: Sequence[BenchmarkLoad]) -> ReplicaModel:
    """The simulator's model of this machine, calibrated with the `known` loads."""
    launch = subject.launch(folder)
    uncalibrated = of_plan(launch.plan, None, Efficiency(), 0, measured=True)
    return replace(uncalibrated, cost=calibrate(uncalibrated, known))


def rows(replica: ReplicaModel, loads: Sequence[BenchmarkLoad]) -> list[Row]:
    """Measured and predicted values of each load."""
    return [row for each in loads for row in _rows(each, predict(each, replica))]


def _name(load: BenchmarkLoad) -> str:
    asks = f"{load.rate:.3g} requests/s" if load.rate is not None else f"{load.users} users"
    return f"{asks}, {load.prompt} + {load.answer} tokens"


def _rows(each: BenchmarkLoad, predicted: Measurement) -> list[Row]:
    measured = asdict(each.outcome)
    names = {"requests_per_second": "requests/s", "latency_p50": "latency p50", "latency_p95": "latency p95"}
    return [
        Row(load=_name(each), figure=shown, measured=measured[name], predicted=asdict(predicted)[name])
        for name, shown in names.items()
    ]


def table(found: Sequence[Row]) -> list[str]:
    """The rows as a Markdown table."""
    lines = ["| load | figure | measured | predicted | ratio |", "|---|---|---|---|---|"]
    for row in found:
        lines.append(f"| {row.load} | {row.figure} | {row.measured:.4g} | {row.predicted:.4g} | {row.ratio:.2f} |")
    off = [row for row in found if not 1 - WITHIN <= row.ratio <= 1 + WITHIN]
    return [*lines, "", f"{len(found) - len(off)} of {len(found)} within {WITHIN:.0%}."]
