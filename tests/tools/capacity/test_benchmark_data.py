"""The simulator held against what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.planning.memory_estimate import BatchLimits
from maritalk_vllm.planning.roofline import StepCost
from maritalk_vllm.tools.capacity.benchmark_data import BenchmarkLoad, Measurement, predict, read
from maritalk_vllm.tools.capacity.calibrate import calibrate
from maritalk_vllm.tools.capacity.replica_model import UNMEASURED, ReplicaModel

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def made(cost: StepCost, **changed: Any) -> ReplicaModel:
    values: dict[str, Any] = {
        "name": "CPU",
        "cards": 1,
        "cost": cost,
        "limits": BatchLimits(2048, 128),
        "cache_tokens": 40_000,
        "longest": 8192,
    }
    return ReplicaModel(**{**values, **changed})


def unknown(users: int | None, prompt: int, *, rate: float | None = None, requests: int = 24) -> BenchmarkLoad:
    nothing = Measurement(requests_per_second=1, latency_p50=1, latency_p95=1)
    return BenchmarkLoad(users=users, rate=rate, requests=requests, prompt=prompt, answer=32, outcome=nothing)


def seen(load: BenchmarkLoad, outcome: Measurement) -> BenchmarkLoad:
    return BenchmarkLoad(
        users=load.users,
        rate=load.rate,
        requests=load.requests,
        prompt=load.prompt,
        answer=load.answer,
        outcome=outcome,
    )


def test_a_cost_is_found_again() -> None:
    """What the simulator itself says of four loads leads back to what it says of others."""
    true = made(StepCost(fixed=0.031, token=0.0006, sequence=0.0018, context=4e-6, request=0.009))
    known = [unknown(1, 30), unknown(16, 30), unknown(1, 550), unknown(16, 550)]
    found = made(calibrate(made(UNMEASURED), [seen(load, predict(load, true)) for load in known]))
    for load in (unknown(4, 200), unknown(32, 550, requests=64), unknown(None, 300, rate=2.0)):
        one, other = predict(load, found), predict(load, true)
        assert one.requests_per_second == pytest.approx(other.requests_per_second, rel=0.05)
        assert one.latency_p95 == pytest.approx(other.latency_p95, rel=0.05)


def told() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / "capacity-demo.json").read_text())["measured"]
    return content


def loads(kind: str) -> list[BenchmarkLoad]:
    return [BenchmarkLoad(**{**each, "outcome": Measurement(**each["outcome"])}) for each in told()[kind]]


def site() -> ReplicaModel:
    content = told()["site"]
    values = {**content, "cost": UNMEASURED, "limits": BatchLimits(**content["limits"])}
    found = ReplicaModel(**values)
    return made(calibrate(found, loads("known")), **{name: values[name] for name in ("limits", "cache_tokens")})


@pytest.fixture(scope="module")
def fitted() -> ReplicaModel:
    return site()


def test_the_measured_run_is_foretold_within_a_fifth(fitted: ReplicaModel) -> None:
    """The demo model on the real engine: the simulator knows four loads, and is asked for seven others."""
    off = []
    for load in loads("others"):
        foretold = predict(load, fitted)
        asks = f"{load.users} users" if load.rate is None else f"{load.rate:.2f}/s"
        for name in ("requests_per_second", "latency_p50", "latency_p95"):
            if not 0.8 <= getattr(foretold, name) / getattr(load.outcome, name) <= 1.2:
                off.append((f"{asks}, {load.prompt} tokens", name))
    assert len(loads("others")) == 7
    assert off == []


LOAD = {
    "requests": 8,
    "requests_per_second": 2.0,
    "generated_tokens_per_second": 64.0,
    "total_tokens_per_second": 124.0,
    "latency": {"p50": 0.5, "p95": 0.6},
    "prompt_time": {"p50": 0.1},
    "generation_time": None,
}


def test_what_the_benchmark_wrote_is_read(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"loads": [{**LOAD, "users": 4}, {**LOAD, "rate": 1.5}]}))
    first, second = read(file)
    assert (first.users, first.rate, second.users, second.rate) == (4, None, None, 1.5)
    assert (first.prompt, first.answer, first.requests) == (30, 32, 8)
    assert first.outcome == Measurement(
        requests_per_second=2.0, latency_p50=0.5, latency_p95=0.6, prompt=0.1, generation=None
    )


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"loads": [{}]}', '{"loads": 1}', '{"reference": []}'])
def test_what_is_no_measurement(tmp_path: Path, content: str) -> None:
    file = tmp_path / "measured.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="is not what a benchmark measured"):
        read(file)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read(tmp_path / "none.json")
