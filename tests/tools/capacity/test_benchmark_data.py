"""The simulator compared with measurements."""

import json
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.planning.batch_limits import BatchLimits
from maritalk_vllm.planning.roofline import StepCost
from maritalk_vllm.tools.capacity.benchmark_data import BenchmarkLoad, Measurement, predict, read_loads
from maritalk_vllm.tools.capacity.calibrate import calibrate
from maritalk_vllm.tools.capacity.replica_model import UNMEASURED, ReplicaModel

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def replica_model(cost: StepCost, **changed: Any) -> ReplicaModel:
    values: dict[str, Any] = {
        "name": "CPU",
        "cards": 1,
        "cost": cost,
        "limits": BatchLimits(2048, 128),
        "cache_tokens": 40_000,
        "longest": 8192,
    }
    return ReplicaModel(**{**values, **changed})


def load_of(users: int | None, prompt: int, *, rate: float | None = None, requests: int = 24) -> BenchmarkLoad:
    placeholder = Measurement(requests_per_second=1, latency_p50=1, latency_p95=1)
    return BenchmarkLoad(users=users, rate=rate, requests=requests, prompt=prompt, answer=32, outcome=placeholder)


def with_outcome(load: BenchmarkLoad, outcome: Measurement) -> BenchmarkLoad:
    return BenchmarkLoad(
        users=load.users,
        rate=load.rate,
        requests=load.requests,
        prompt=load.prompt,
        answer=load.answer,
        outcome=outcome,
    )


def test_calibration_recovers_the_cost_from_simulated_loads() -> None:
    """A calibration on four simulated loads predicts what the simulator gives for others."""
    true = replica_model(StepCost(fixed=0.031, token=0.0006, sequence=0.0018, context=4e-6, request=0.009))
    known = [load_of(1, 30), load_of(16, 30), load_of(1, 550), load_of(16, 550)]
    found = replica_model(
        calibrate(replica_model(UNMEASURED), [with_outcome(load, predict(load, true)) for load in known])
    )
    for load in (load_of(4, 200), load_of(32, 550, requests=64), load_of(None, 300, rate=2.0)):
        expected, actual = predict(load, found), predict(load, true)
        assert expected.requests_per_second == pytest.approx(actual.requests_per_second, rel=0.05)
        assert expected.latency_p95 == pytest.approx(actual.latency_p95, rel=0.05)


def recorded() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / "capacity-demo.json").read_text())["measured"]
    return content


def loads(kind: str) -> list[BenchmarkLoad]:
    return [BenchmarkLoad(**{**each, "outcome": Measurement(**each["outcome"])}) for each in recorded()[kind]]


def fitted_model() -> ReplicaModel:
    content = recorded()["site"]
    values = {**content, "cost": UNMEASURED, "limits": BatchLimits(**content["limits"])}
    found = ReplicaModel(**values)
    return replica_model(
        calibrate(found, loads("known")), **{name: values[name] for name in ("limits", "cache_tokens")}
    )


@pytest.fixture(scope="module")
def fitted() -> ReplicaModel:
    return fitted_model()


def test_predictions_are_within_20_percent_of_measurements(fitted: ReplicaModel) -> None:
    """The demo model on the real engine: calibrated on four loads, the simulator predicts seven others."""
    outliers = []
    for load in loads("others"):
        predicted = predict(load, fitted)
        name_of_load = f"{load.users} users" if load.rate is None else f"{load.rate:.2f}/s"
        for name in ("requests_per_second", "latency_p50", "latency_p95"):
            if not 0.8 <= getattr(predicted, name) / getattr(load.outcome, name) <= 1.2:
                outliers.append((f"{name_of_load}, {load.prompt} tokens", name))
    assert len(loads("others")) == 7
    assert outliers == []


LOAD = {
    "requests": 8,
    "requests_per_second": 2.0,
    "generated_tokens_per_second": 64.0,
    "total_tokens_per_second": 124.0,
    "latency": {"p50": 0.5, "p95": 0.6},
    "prompt_time": {"p50": 0.1},
    "generation_time": None,
}


def test_read_loads_parses_bench_output(tmp_path: Path) -> None:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"loads": [{**LOAD, "users": 4}, {**LOAD, "rate": 1.5}]}))
    first, second = read_loads(file)
    assert (first.users, first.rate, second.users, second.rate) == (4, None, None, 1.5)
    assert (first.prompt, first.answer, first.requests) == (30, 32, 8)
    assert first.outcome == Measurement(
        requests_per_second=2.0, latency_p50=0.5, latency_p95=0.6, prompt=0.1, generation=None
    )


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"loads": [{}]}', '{"loads": 1}', '{"reference": []}'])
def test_read_loads_rejects_other_files(tmp_path: Path, content: str) -> None:
    file = tmp_path / "measured.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="is not what a benchmark measured"):
        read_loads(file)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_loads(tmp_path / "none.json")
