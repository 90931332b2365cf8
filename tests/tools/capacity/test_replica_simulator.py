"""vLLM's batching rules, step by step."""

import random
from collections.abc import Iterator

import pytest

from maritalk_vllm.planning.batch_limits import BatchLimits
from maritalk_vllm.planning.roofline import StepCost
from maritalk_vllm.tools.capacity.arrivals import Arrivals, ClosedLoopUsers, PoissonArrivals, SaturatingUsers
from maritalk_vllm.tools.capacity.replica_simulator import ReplicaSimulator
from maritalk_vllm.tools.capacity.simulate import SimulationRun, simulate
from maritalk_vllm.tools.capacity.simulated_request import SimulatedRequest
from maritalk_vllm.tools.capacity.token_lengths import TokenLengths

SECOND = StepCost(fixed=1)
"""Each step takes one second."""


class FixedArrivals:
    """Requests given as (arrival time, prompt tokens, answer tokens)."""

    def __init__(self, *requests: tuple[float, int, int]) -> None:
        self.requests = [SimulatedRequest(number, *each) for number, each in enumerate(requests)]

    def initial(self) -> Iterator[SimulatedRequest]:
        return iter(self.requests)

    def follow_up(self, _: SimulatedRequest) -> None:
        return None


def times(request: SimulatedRequest) -> tuple[float, float]:
    """Start and finish time."""
    assert request.started is not None
    assert request.finished is not None
    return request.started, request.finished


def run(
    *requests: tuple[float, int, int], cost: StepCost = SECOND, tokens: int = 100, most: int = 8, cache: int = 10_000
) -> tuple[list[SimulatedRequest], SimulationRun]:
    arrivals = FixedArrivals(*requests)
    return arrivals.requests, simulate(arrivals, ReplicaSimulator(cost, BatchLimits(tokens, most), cache))


def test_single_request_gets_one_token_per_step() -> None:
    """The prefill step gives the first token, each further step one more."""
    (request,), result = run((5, 50, 4))
    assert (request.started, request.first_token_at, request.finished) == (5, 6, 9)
    assert result.stats.steps == 4
    assert result.stats.most_cached == 53


def test_long_prompt_is_prefilled_in_chunks() -> None:
    (request,), _ = run((0, 250, 1))
    assert (request.first_token_at, request.finished) == (3, 3)


def test_decoding_continues_during_chunked_prefill() -> None:
    """100 tokens a step: one for the answer, 99 for the prompt of 150, then 51."""
    (first, second), _ = run((0, 10, 10), (0.5, 150, 2))
    assert first.finished == 10
    assert (second.started, second.first_token_at, second.finished) == (1, 3, 4)


def test_several_prompts_share_one_step() -> None:
    requests, _ = run((0, 50, 1), (0, 50, 1), (0, 50, 1))
    assert [request.finished for request in requests] == [1, 1, 2]


def test_arrival_during_a_step_waits_for_its_end() -> None:
    (_, second), _ = run((0, 10, 10), (3.5, 10, 1))
    assert (second.started, second.finished) == (4, 5)


def test_batch_is_limited_to_max_sequences() -> None:
    requests, _ = run((0, 10, 3), (0, 10, 3), (0, 10, 3), most=2)
    assert [request.finished for request in requests] == [3, 3, 6]


def test_prompt_waits_until_it_fits_into_the_kv_cache() -> None:
    (first, second), result = run((0, 60, 3), (0, 60, 1), cache=100)
    assert first.finished == 3
    assert (second.started, second.finished) == (3, 4)
    assert result.stats.preemptions == 0


def test_full_kv_cache_preempts_the_newest_request() -> None:
    (first, second), result = run((0, 40, 20), (0, 40, 20), cache=100)
    assert result.stats.preemptions == 1
    assert first.finished == 20
    # 11 tokens before the preemption; then the recomputation gives one more, and 8 follow.
    assert (second.first_token_at, second.finished) == (1, 29)
    assert result.stats.most_cached <= 100


def test_batched_steps_equal_single_steps() -> None:
    """With a cost that grows with the context, steps simulated one by one give the same times as many at once."""
    cost = StepCost(fixed=0.01, weights=0.02, compute=0.001, token=1e-4, sequence=2e-4, context=1e-5)
    requests = [(0.0, 300, 200), (0.3, 50, 150), (1.1, 700, 90)]
    whole, _ = run(*requests, cost=cost)
    replica, now, pending = (
        ReplicaSimulator(cost, BatchLimits(100, 8), 10_000),
        0.0,
        [SimulatedRequest(0, *each) for each in requests],
    )
    finished: list[SimulatedRequest] = []
    while len(finished) < 3:
        while pending and pending[0].arrived <= now:
            replica.waiting.append(pending.pop(0))
        now, done = replica.advance(now, now)  # exactly one step, since `until` is now
        finished += done
    one_by_one = sorted(finished, key=lambda request: request.arrived)
    for one, other in zip(whole, one_by_one, strict=True):
        assert (one.first_token_at, one.finished) == pytest.approx((other.first_token_at, other.finished))


COST = StepCost(fixed=0.003, weights=0.03, compute=2e-4, context=1e-6)
LENGTHS = TokenLengths(prompt=200, answer=50, spread=0.5, max_model_len=4000)


def loaded(arrivals: Arrivals, until: float = 2000) -> SimulationRun:
    return simulate(arrivals, ReplicaSimulator(COST, BatchLimits(2048, 256), 100_000), until)


def test_littles_law() -> None:
    """Concurrency equals throughput times residence time: two independent counts."""
    result = loaded(PoissonArrivals(3.0, 2000, LENGTHS, seed=1))
    residence_seconds = sum(finished - began for began, finished in map(times, result.answered))
    assert result.stats.running_seconds == pytest.approx(residence_seconds, rel=0.002)
    assert result.stats.running_seconds / 2000 > 3


def test_closed_loop_users_with_think_time() -> None:
    """Each user sends one request per think time plus latency."""
    result = loaded(ClosedLoopUsers(100, 30.0, LENGTHS, seed=2))
    latency = sum(request.latency for request in result.answered) / len(result.answered)
    assert len(result.answered) / 2000 == pytest.approx(100 / (30 + latency), rel=0.03)


def test_saturating_users_keep_all_requests_running() -> None:
    result = loaded(SaturatingUsers(4, 40, LENGTHS, seed=0))
    assert len(result.answered) == 40
    at_once = [sum(each.arrived <= at < times(each)[1] for each in result.answered) for at in (1, 3, 5)]
    assert at_once == [4, 4, 4]


def test_same_seed_gives_the_same_run() -> None:
    def ends(seed: int) -> list[float | None]:
        return [request.finished for request in loaded(PoissonArrivals(2.0, 200, LENGTHS, seed)).answered]

    assert ends(1) == ends(1) != ends(2)


def test_arrival_times_equal_the_load_generators() -> None:
    """bench/load_generator.py draws them in the same way, so that a measured run is simulated with its own arrivals."""
    rng, due = random.Random(0), []
    at = rng.expovariate(2.5)
    while at < 20:
        due.append(at)
        at += rng.expovariate(2.5)
    assert [request.arrived for request in PoissonArrivals(2.5, 20, LENGTHS, seed=0).initial()] == due


def test_token_lengths_have_the_requested_mean_and_deviation() -> None:
    rng = random.Random(3)
    drawn = [LENGTHS.draw(rng) for _ in range(5000)]
    prompts = [prompt for prompt, _ in drawn]
    average = sum(prompts) / len(prompts)
    assert average == pytest.approx(200, rel=0.03)
    deviation = (sum((prompt - average) ** 2 for prompt in prompts) / len(prompts)) ** 0.5
    assert deviation / average == pytest.approx(0.5, rel=0.06)
    cut = TokenLengths(prompt=3900, answer=300, spread=0.5, max_model_len=4000)
    assert all(prompt + answer <= 4000 and answer >= 1 for prompt, answer in (cut.draw(rng) for _ in range(500)))
