"""From users to cards."""

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
from maritalk_vllm.tools.capacity.capacity_report import as_data, as_refusal, report
from maritalk_vllm.tools.capacity.capacity_study import Question, Study, study
from maritalk_vllm.tools.capacity.day_profile import HOURS, PEAK_HOUR, shape, simulate_day
from maritalk_vllm.tools.capacity.replica_model import ReplicaModel, of_plan
from maritalk_vllm.tools.capacity.sizing import HOUR, WARM, alone, arrivals, busiest, most_users, size
from maritalk_vllm.tools.capacity.workload import Workload, seconds
from tests.planning.machines import hypothetical_machine, profile_need

OFFICE = Workload(users=600, prompt=550, answer=150, latency_p95=10)


def plan(model: str, cards: str, **given: object) -> Plan:
    return make_plan(profile_need(model, **given), hypothetical_machine(cards), Device.CUDA, Device.CUDA)


def site(cards: str = "8xA100-40GB", model: str = "small") -> ReplicaModel:
    footprint = profile_need(model).footprint
    assert footprint is not None
    return of_plan(plan(model, cards), footprint, Efficiency(), 625)


def question(model: str = "small", workload: Workload = OFFICE, **given: object) -> Question:
    return Question(need=profile_need(model), workload=workload, efficiency=Efficiency(), **given)  # type: ignore[arg-type]


def test_a_replica_has_the_plans_cache_and_vllms_limits() -> None:
    found, made = site("8xA10"), plan("small", "1xA10")
    assert (found.title, found.cache_tokens, found.longest) == ("1 x NVIDIA A10", made.kv_cache_tokens, 8000)
    assert (found.limits.tokens, found.limits.sequences) == (2048, 256)
    assert site("4xA10", "medium").cards == 4


def test_a_user_alone_waits_as_long_as_the_steps_take() -> None:
    here = site()
    steps = sum(here.cost.seconds(1, 1, 550 + token) for token in range(1, 150))
    assert alone(OFFICE, here).p95 == pytest.approx(here.cost.seconds(550, 1, 550) + steps, rel=0.02)


def test_more_replicas_are_never_worse() -> None:
    found = [busiest(OFFICE, site(), replicas).p95 for replicas in (1, 2, 3, 5, 8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.2 * found[-1]


def test_the_fewest_that_answer_in_time() -> None:
    workload = replace(OFFICE, users=1500)
    found = size(workload, site())
    assert found is not None and found.replicas > 1 and found.fewer is not None
    assert found.busiest.p95 <= workload.latency_p95 < found.fewer.p95
    assert size(workload, site()) == found
    hasty = size(replace(workload, latency_p95=5), site())
    assert hasty is not None and hasty.replicas > found.replicas
    assert size(replace(workload, latency_p95=1), site()) is None


def test_as_many_users_as_so_many_replicas_answer() -> None:
    users = most_users(OFFICE, site(), 2)
    assert users < OFFICE.users * 2
    found = size(replace(OFFICE, users=users), site())
    assert found is not None and found.replicas == 2


def test_questions_an_hour_instead_of_thinking() -> None:
    found = busiest(replace(OFFICE, hourly=12), site(), 2)
    assert found.requests_per_second == pytest.approx(600 * 12 / 3600 / 2, rel=0.05)


def test_a_queue_that_grows_through_the_hour_is_seen() -> None:
    """With 90 s for an answer, twenty minutes of too many requests would pass: two replicas seem to do."""
    workload = replace(OFFICE, users=500, answer=300, hourly=60, latency_p95=90)
    found = size(workload, site())
    assert found is not None and found.fewer is not None
    hour = site().run(arrivals(workload, site(), found.replicas, WARM + HOUR), math.inf)
    assert hour.unanswered == 0
    waited = Percentiles.of(each.latency for each in hour.answered if each.asked >= WARM)
    assert waited is not None and waited.p95 <= 90


@pytest.mark.parametrize("share", [0.05, 0.08, 0.12, 0.3])
def test_the_busiest_hour_has_its_share_of_the_day(share: float) -> None:
    asked = [shape(share)((hour + 0.5) * 3600) for hour in range(HOURS)]
    assert max(asked) == asked[PEAK_HOUR] == pytest.approx(1)
    assert asked[PEAK_HOUR] / sum(asked) == pytest.approx(share)
    assert min(asked) > 0


def test_a_day() -> None:
    day = simulate_day(replace(OFFICE, hourly=20), site(), 2)
    assert sum(hour.requests for hour in day.hours) == day.requests
    assert max(day.hours, key=lambda hour: hour.requests).hour in (14, 15, 16)
    assert day.hours[PEAK_HOUR].requests / day.requests == pytest.approx(0.12, rel=0.05)
    assert day.requests * 0.12 == pytest.approx(600 * 20, rel=0.05)
    night, peak = day.hours[3], day.hours[PEAK_HOUR]
    assert night.p95 is not None and peak.p95 is not None and night.p95 < peak.p95
    # Little's law once more, over all replicas.
    assert peak.p50 is not None
    assert peak.running * 2 == pytest.approx(peak.requests / 3600 * peak.p50, rel=0.1)


def test_the_split_with_the_fewest_cards() -> None:
    """An A10 that holds all of MariTalk Small has little room for KV cache beside it, two have four times as much."""
    workload = replace(OFFICE, users=200)
    plans = [plan("small", "8xA10", tensor_parallel_size=size) for size in (1, 2)]
    both = study(question(workload=workload), plans)
    first = study(question(workload=workload), plans[:1])
    assert both.plan.tensor_parallel_size == 2
    assert both.cards < first.cards
    assert both.considered == tuple(
        f"tensor parallel {size}: {found.cards} x NVIDIA A10" for size, found in ((1, first), (2, both))
    )
    assert "  tensor parallel 1: 3 x NVIDIA A10" in report(both)


def test_no_number_would_do() -> None:
    with pytest.raises(DoesNotFit) as error:
        study(question(), [plan("small", "1xL4")])
    assert "takes 11.2 s on 1 x NVIDIA L4 where it is alone, over the 10 s asked for" in error.value.message
    assert error.value.hint == "What would do: A10 (5.9 s), A10G (6.0 s), L40S (4.2 s)."
    told = as_refusal(error.value)
    assert told["error"]["code"] == "does_not_fit"
    assert set(told) == set(as_data(hundred()))


def test_more_cards_than_there_are() -> None:
    with pytest.raises(DoesNotFit) as error:
        study(question(limit=2), [plan("small", "1xA10")])
    assert error.value.message.startswith("600 users need 7 x NVIDIA A10, and there are 2.")
    assert error.value.hint.startswith("These answer 1")


def hundred() -> Study:
    return study(question(workload=replace(OFFICE, users=100)), [plan("small", "1xA10")])


def test_what_is_told() -> None:
    found = hundred()
    lines = report(found)
    assert lines[0] == f"MariTalk Small for 100 users: {found.cards} x NVIDIA A10, {found.sized.replicas} replicas."
    told = "\n".join(lines)
    assert "each asks again 60 s after an answer, on average (--think)" in told
    assert "0.7 of the 600 GB/s of the data sheet (--memory-efficiency)" in told
    data = as_data(found)
    assert data["busiest_hour"]["latency"]["p95"] == found.sized.busiest.p95
    assert len(data["day"]["hours"]) == HOURS
    assert data["plan"]["tensor_parallel_size"] == 1


@pytest.mark.parametrize(("text", "found"), [("10s", 10), ("800ms", 0.8), ("1.5 s", 1.5), ("2min", 120), ("1h", 3600)])
def test_times(text: str, found: float) -> None:
    assert seconds("--think", text) == pytest.approx(found)


@pytest.mark.parametrize("text", ["10", "s", "-1s", "10 days", "", "1e3s"])
def test_no_times(text: str) -> None:
    with pytest.raises(UsageError, match="which is no time"):
        seconds("--think", text)


@pytest.mark.parametrize(
    ("changed", "says"),
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
def test_what_cannot_be_asked(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        replace(OFFICE, **changed)
    assert says in str(error.value)


def test_a_request_longer_than_the_context() -> None:
    with pytest.raises(UsageError, match="8150 tokens together, over the context of 8000"):
        study(question(workload=replace(OFFICE, prompt=8000)), [plan("small", "1xA10")])
