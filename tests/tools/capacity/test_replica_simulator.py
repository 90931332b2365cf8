"""vLLM's rules of batching, step by step."""

import random
from collections.abc import Iterator

import pytest

from maritalk_vllm.planning.memory_estimate import BatchLimits
from maritalk_vllm.planning.roofline import StepCost
from maritalk_vllm.tools.capacity.arrivals import Arrivals, ClosedLoopUsers, PoissonArrivals, SaturatingUsers
from maritalk_vllm.tools.capacity.replica_simulator import Replica
from maritalk_vllm.tools.capacity.simulate import Run, simulate
from maritalk_vllm.tools.capacity.simulated_request import SimulatedRequest
from maritalk_vllm.tools.capacity.token_lengths import Lengths

SECOND = StepCost(fixed=1)
"""Whatever it does, a step takes a second."""


class Given:
    """Requests by their time, prompt and answer."""

    def __init__(self, *requests: tuple[float, int, int]) -> None:
        self.requests = [SimulatedRequest(number, *each) for number, each in enumerate(requests)]

    def first(self) -> Iterator[SimulatedRequest]:
        return iter(self.requests)

    def after(self, _: SimulatedRequest) -> None:
        return None


def times(request: SimulatedRequest) -> tuple[float, float]:
    """When it began and when it ended."""
    assert request.began is not None
    assert request.ended is not None
    return request.began, request.ended


def run(
    *requests: tuple[float, int, int], cost: StepCost = SECOND, tokens: int = 100, most: int = 8, cache: int = 10_000
) -> tuple[list[SimulatedRequest], Run]:
    given = Given(*requests)
    return given.requests, simulate(given, Replica(cost, BatchLimits(tokens, most), cache))


def test_a_request_alone() -> None:
    """The prompt's step brings the first token, each further step one."""
    (request,), found = run((5, 50, 4))
    assert (request.began, request.first, request.ended) == (5, 6, 9)
    assert found.used.steps == 4
    assert found.used.most_cached == 53


def test_a_long_prompt_comes_in_chunks() -> None:
    (request,), _ = run((0, 250, 1))
    assert (request.first, request.ended) == (3, 3)


def test_who_has_an_answer_under_way_goes_on_beside_a_prompt() -> None:
    """100 tokens a step: one for the answer, 99 for the prompt of 150, then 51."""
    (first, second), _ = run((0, 10, 10), (0.5, 150, 2))
    assert first.ended == 10
    assert (second.began, second.first, second.ended) == (1, 3, 4)


def test_several_prompts_in_one_step() -> None:
    requests, _ = run((0, 50, 1), (0, 50, 1), (0, 50, 1))
    assert [request.ended for request in requests] == [1, 1, 2]


def test_who_comes_during_a_step_waits_for_its_end() -> None:
    (_, second), _ = run((0, 10, 10), (3.5, 10, 1))
    assert (second.began, second.ended) == (4, 5)


def test_no_more_requests_than_there_are_places() -> None:
    requests, _ = run((0, 10, 3), (0, 10, 3), (0, 10, 3), most=2)
    assert [request.ended for request in requests] == [3, 3, 6]


def test_a_prompt_waits_until_it_fits_into_the_cache() -> None:
    (first, second), found = run((0, 60, 3), (0, 60, 1), cache=100)
    assert first.ended == 3
    assert (second.began, second.ended) == (3, 4)
    assert found.used.preemptions == 0


def test_where_the_cache_is_full_who_came_last_begins_again() -> None:
    (first, second), found = run((0, 40, 20), (0, 40, 20), cache=100)
    assert found.used.preemptions == 1
    assert first.ended == 20
    # 11 tokens came before; what was computed is computed again, with one more token, and 8 come after.
    assert (second.first, second.ended) == (1, 29)
    assert found.used.most_cached <= 100


def test_many_steps_at_once_are_the_same_as_one_by_one() -> None:
    """A cost that grows with the context: somebody who comes and is never served splits the steps, and changes none."""
    cost = StepCost(fixed=0.01, weights=0.02, compute=0.001, token=1e-4, sequence=2e-4, context=1e-5)
    asked = [(0.0, 300, 200), (0.3, 50, 150), (1.1, 700, 90)]
    whole, _ = run(*asked, cost=cost)
    replica, now, pending = (
        Replica(cost, BatchLimits(100, 8), 10_000),
        0.0,
        [SimulatedRequest(0, *each) for each in asked],
    )
    ended: list[SimulatedRequest] = []
    while len(ended) < 3:
        while pending and pending[0].asked <= now:
            replica.waiting.append(pending.pop(0))
        now, done = replica.advance(now, now)  # one step, since somebody is there already
        ended += done
    one_by_one = sorted(ended, key=lambda request: request.asked)
    for one, other in zip(whole, one_by_one, strict=True):
        assert (one.first, one.ended) == pytest.approx((other.first, other.ended))


COST = StepCost(fixed=0.003, weights=0.03, compute=2e-4, context=1e-6)
LENGTHS = Lengths(prompt=200, answer=50, spread=0.5, longest=4000)


def loaded(arrivals: Arrivals, until: float = 2000) -> Run:
    return simulate(arrivals, Replica(COST, BatchLimits(2048, 256), 100_000), until)


def test_littles_law() -> None:
    """Requests at once are those a second times how long they stay: two counts that share nothing."""
    found = loaded(PoissonArrivals(3.0, 2000, LENGTHS, seed=1))
    stayed = sum(ended - began for began, ended in map(times, found.answered))
    assert found.used.running_seconds == pytest.approx(stayed, rel=0.002)
    assert found.used.running_seconds / 2000 > 3


def test_users_who_think() -> None:
    """Each asks once in the time that it thinks and waits."""
    found = loaded(ClosedLoopUsers(100, 30.0, LENGTHS, seed=2))
    latency = sum(request.latency for request in found.answered) / len(found.answered)
    assert len(found.answered) / 2000 == pytest.approx(100 / (30 + latency), rel=0.03)


def test_users_who_do_not_think() -> None:
    found = loaded(SaturatingUsers(4, 40, LENGTHS, seed=0))
    assert len(found.answered) == 40
    at_once = [sum(each.asked <= at < times(each)[1] for each in found.answered) for at in (1, 3, 5)]
    assert at_once == [4, 4, 4]


def test_the_same_seed_is_the_same_run() -> None:
    def ends(seed: int) -> list[float | None]:
        return [request.ended for request in loaded(PoissonArrivals(2.0, 200, LENGTHS, seed)).answered]

    assert ends(1) == ends(1) != ends(2)


def test_arrivals_are_those_of_the_benchmark() -> None:
    """bench/load draws them so; a measured run is simulated with its own."""
    chance, due = random.Random(0), []
    at = chance.expovariate(2.5)
    while at < 20:
        due.append(at)
        at += chance.expovariate(2.5)
    assert [request.asked for request in PoissonArrivals(2.5, 20, LENGTHS, seed=0).first()] == due


def test_lengths_are_what_they_are_on_average() -> None:
    chance = random.Random(3)
    drawn = [LENGTHS.draw(chance) for _ in range(5000)]
    prompts = [prompt for prompt, _ in drawn]
    average = sum(prompts) / len(prompts)
    assert average == pytest.approx(200, rel=0.03)
    deviation = (sum((prompt - average) ** 2 for prompt in prompts) / len(prompts)) ** 0.5
    assert deviation / average == pytest.approx(0.5, rel=0.06)
    cut = Lengths(prompt=3900, answer=300, spread=0.5, longest=4000)
    assert all(prompt + answer <= 4000 and answer >= 1 for prompt, answer in (cut.draw(chance) for _ in range(500)))
