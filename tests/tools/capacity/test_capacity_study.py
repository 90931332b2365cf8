"""Capacity study: from a number of users to a number of GPUs."""

import math
from dataclasses import replace
from typing import Any

import pytest

from maritalk_vllm.errors import DoesNotFit, UsageError
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.planning.roofline import Efficiency
from maritalk_vllm.settings import Device
from maritalk_vllm.tools.bench.latency_metrics import Percentiles
from maritalk_vllm.tools.capacity.capacity_report import as_data, error_as_data, report
from maritalk_vllm.tools.capacity.capacity_study import Study, StudyInputs, study
from maritalk_vllm.tools.capacity.day_profile import HOURS, PEAK_HOUR, demand_curve, simulate_day
from maritalk_vllm.tools.capacity.replica_model import ReplicaModel, of_plan
from maritalk_vllm.tools.capacity.sizing import HOUR, WARM, arrivals, most_users, peak_hour, single_user, size
from maritalk_vllm.tools.capacity.workload import Workload, seconds
from tests.planning.machines import hypothetical_machine, profile_need

OFFICE = Workload(users=600, prompt=550, answer=150, latency_p95=10)


def plan(model: str, gpus: str, **options: object) -> Plan:
    return make_plan(profile_need(model, **options), hypothetical_machine(gpus), Device.CUDA, Device.CUDA)


def replica_model(gpus: str = "8xA100-40GB", model: str = "small") -> ReplicaModel:
    footprint = profile_need(model).footprint
    assert footprint is not None
    return of_plan(plan(model, gpus), footprint, Efficiency(), 625)


def inputs(model: str = "small", workload: Workload = OFFICE, **options: object) -> StudyInputs:
    return StudyInputs(requirements=profile_need(model), workload=workload, efficiency=Efficiency(), **options)  # type: ignore[arg-type]


def test_replica_has_the_plans_kv_cache_and_vllms_limits() -> None:
    result, expected = replica_model("8xA10"), plan("small", "1xA10")
    assert (result.title, result.cache_tokens, result.longest) == ("1 x NVIDIA A10", expected.kv_cache_tokens, 8000)
    assert (result.limits.tokens, result.limits.sequences) == (2048, 256)
    assert replica_model("4xA10", "medium").cards == 4


def test_single_users_latency_is_the_sum_of_the_steps() -> None:
    replica = replica_model()
    steps = sum(replica.cost.seconds(1, 1, 550 + token) for token in range(1, 150))
    assert single_user(OFFICE, replica).p95 == pytest.approx(replica.cost.seconds(550, 1, 550) + steps, rel=0.02)


def test_more_replicas_never_increase_latency() -> None:
    result = [peak_hour(OFFICE, replica_model(), replicas).p95 for replicas in (1, 2, 3, 5, 8)]
    assert result == sorted(result, reverse=True)
    assert result[0] > 1.2 * result[-1]


def test_size_finds_the_fewest_replicas_in_time() -> None:
    workload = replace(OFFICE, users=1500)
    result = size(workload, replica_model())
    assert result is not None and result.replicas > 1 and result.fewer is not None
    assert result.peak_hour.p95 <= workload.latency_p95 < result.fewer.p95
    assert size(workload, replica_model()) == result
    stricter = size(replace(workload, latency_p95=5), replica_model())
    assert stricter is not None and stricter.replicas > result.replicas
    assert size(replace(workload, latency_p95=1), replica_model()) is None


def test_most_users_is_the_inverse_of_size() -> None:
    users = most_users(OFFICE, replica_model(), 2)
    assert users < OFFICE.users * 2
    result = size(replace(OFFICE, users=users), replica_model())
    assert result is not None and result.replicas == 2


def test_hourly_rate_instead_of_think_time() -> None:
    result = peak_hour(replace(OFFICE, hourly=12), replica_model(), 2)
    assert result.requests_per_second == pytest.approx(600 * 12 / 3600 / 2, rel=0.05)


def test_queue_growing_over_the_hour_adds_replicas() -> None:
    """With a target of 90 s, twenty minutes of overload would pass unnoticed and two replicas would seem enough."""
    workload = replace(OFFICE, users=500, answer=300, hourly=60, latency_p95=90)
    result = size(workload, replica_model())
    assert result is not None and result.fewer is not None
    hour = replica_model().run(arrivals(workload, replica_model(), result.replicas, WARM + HOUR), math.inf)
    assert hour.unanswered == 0
    latency = Percentiles.of(each.latency for each in hour.answered if each.arrived >= WARM)
    assert latency is not None and latency.p95 <= 90


@pytest.mark.parametrize("share", [0.05, 0.08, 0.12, 0.3])
def test_peak_hour_has_its_share_of_the_day(share: float) -> None:
    demand = [demand_curve(share)((hour + 0.5) * 3600) for hour in range(HOURS)]
    assert max(demand) == demand[PEAK_HOUR] == pytest.approx(1)
    assert demand[PEAK_HOUR] / sum(demand) == pytest.approx(share)
    assert min(demand) > 0


def test_day_totals_and_peak() -> None:
    day = simulate_day(replace(OFFICE, hourly=20), replica_model(), 2)
    assert sum(hour.requests for hour in day.hours) == day.requests
    assert max(day.hours, key=lambda hour: hour.requests).hour in (14, 15, 16)
    assert day.hours[PEAK_HOUR].requests / day.requests == pytest.approx(0.12, rel=0.05)
    assert day.requests * 0.12 == pytest.approx(600 * 20, rel=0.05)
    night, peak = day.hours[3], day.hours[PEAK_HOUR]
    assert night.p95 is not None and peak.p95 is not None and night.p95 < peak.p95
    # Little's law, over all replicas.
    assert peak.p50 is not None
    assert peak.running * 2 == pytest.approx(peak.requests / 3600 * peak.p50, rel=0.1)


def test_study_selects_the_plan_with_the_fewest_gpus() -> None:
    """MariTalk Small leaves one A10 little memory for KV cache; two of them have four times as much."""
    workload = replace(OFFICE, users=200)
    plans = [plan("small", "8xA10", tensor_parallel_size=size) for size in (1, 2)]
    both = study(inputs(workload=workload), plans)
    first = study(inputs(workload=workload), plans[:1])
    assert both.plan.tensor_parallel_size == 2
    assert both.gpus < first.gpus
    assert both.considered == tuple(
        f"tensor parallel {size}: {result.gpus} x NVIDIA A10" for size, result in ((1, first), (2, both))
    )
    assert "  tensor parallel 1: 3 x NVIDIA A10" in report(both)


def test_too_slow_model_suggests_faster_gpus() -> None:
    with pytest.raises(DoesNotFit) as error:
        study(inputs(), [plan("small", "1xL4")])
    assert "takes 11.2 s on 1 x NVIDIA L4 where it is alone, over the 10 s asked for" in error.value.message
    assert error.value.hint == "This would fit: A10 (5.9 s), A10G (6.0 s), L40S (4.2 s)."
    data = error_as_data(error.value)
    assert data["error"]["code"] == "does_not_fit"
    assert set(data) == set(as_data(study_of_100_users()))


def test_more_gpus_than_the_limit() -> None:
    with pytest.raises(DoesNotFit) as error:
        study(inputs(limit=2), [plan("small", "1xA10")])
    assert error.value.message.startswith("600 users need 8 x NVIDIA A10, and there are 2.")
    assert error.value.hint.startswith("These answer 1")


def study_of_100_users() -> Study:
    return study(inputs(workload=replace(OFFICE, users=100)), [plan("small", "1xA10")])


def test_report_and_data() -> None:
    result = study_of_100_users()
    lines = report(result)
    assert lines[0] == f"MariTalk Small for 100 users: {result.gpus} x NVIDIA A10, {result.sized.replicas} replicas."
    text = "\n".join(lines)
    assert "each asks again 60 s after an answer, on average (--think)" in text
    assert "0.7 of the 600 GB/s of the data sheet (--memory-efficiency)" in text
    data = as_data(result)
    assert data["busiest_hour"]["latency"]["p95"] == result.sized.peak_hour.p95
    assert len(data["day"]["hours"]) == HOURS
    assert data["plan"]["tensor_parallel_size"] == 1


def test_a_study_of_one_user_has_singulars() -> None:
    text = "\n".join(report(study(inputs(workload=replace(OFFICE, users=1)), [plan("small", "1xA10")])))
    assert text.startswith("MariTalk Small for 1 user: 1 x NVIDIA A10, 1 replica.\n")
    assert (
        "  1 user is active in the busiest hour, and asks again 60 s after an answer, on average (--think).\n" in text
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("10s", 10), ("800ms", 0.8), ("1.5 s", 1.5), ("2min", 120), ("1h", 3600)]
)
def test_seconds_parses_times(text: str, expected: float) -> None:
    assert seconds("--think", text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["10", "s", "-1s", "10 days", "", "1e3s"])
def test_seconds_rejects_other_texts(text: str) -> None:
    with pytest.raises(UsageError, match="which is no time"):
        seconds("--think", text)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"users": 0}, "--users is 0"),
        ({"prompt": 0}, "--prompt is 0"),
        ({"answer": -1}, "--output is -1"),
        ({"latency_p95": 0}, "--latency-p95 is 0"),
        ({"think": 0}, "--think is 0"),
        ({"hourly": 0}, "--requests-per-hour is 0"),
        ({"peak_share": 0.04}, "over 0.042"),
        ({"peak_share": 0.6}, "up to 0.5"),
        ({"spread": -0.1}, "--spread is -0.1"),
    ],
)
def test_invalid_workload(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        replace(OFFICE, **changed)
    assert message in str(error.value)


def test_request_longer_than_the_context() -> None:
    with pytest.raises(UsageError, match="8150 tokens together, over the context of 8000"):
        study(inputs(workload=replace(OFFICE, prompt=8000)), [plan("small", "1xA10")])
