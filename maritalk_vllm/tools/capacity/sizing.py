"""The fewest replicas that meet the latency target in the peak hour.

One replica is simulated with its share of the users, who are spread evenly; all replicas are assumed alike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from .arrivals import Arrivals, ClosedLoopUsers, DemandCurve, PoissonArrivals, constant_demand
from .replica_model import ReplicaModel
from .run_metrics import RunMetrics, compute_metrics
from .workload import Workload

SEED = 0
HOUR = 3600.0
WARM = 600.0
"""Warm-up seconds that do not count: the replica starts empty."""

_MIN_SECONDS = 600.0
_MIN_REQUESTS = 2000
"""Counted in each run, so that its 95th percentile is stable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingResult:
    """The number of replicas, and the metrics of each in the peak hour: with that number, and with one `fewer`.

    `single_user` has the metrics of one user with a replica of their own.
    """

    replicas: int
    peak_hour: RunMetrics
    fewer: RunMetrics | None
    single_user: RunMetrics


def arrivals(
    workload: Workload, replica: ReplicaModel, replicas: int, until: float, demand: DemandCurve = constant_demand
) -> Arrivals:
    """One replica's share of the arrivals."""
    lengths = replica.lengths(workload)
    if workload.hourly is not None:
        return PoissonArrivals(workload.users * workload.hourly / HOUR / replicas, until, lengths, SEED, demand)
    return ClosedLoopUsers(math.ceil(workload.users / replicas), workload.think, lengths, SEED, demand)


def peak_request_rate(workload: Workload) -> float:
    """Requests/s of all users in the peak hour, if each were answered at once."""
    interval = HOUR / workload.hourly if workload.hourly is not None else workload.think
    return workload.users / interval


def peak_hour(workload: Workload, replica: ReplicaModel, replicas: int) -> RunMetrics:
    """Simulate one of `replicas` replicas in the peak hour, long enough for stable percentiles."""
    rate = peak_request_rate(workload) / replicas
    until = WARM + max(_MIN_SECONDS, _MIN_REQUESTS / rate)
    result = compute_metrics(replica.run(arrivals(workload, replica, replicas, until), until), WARM, until)
    if workload.hourly is None or not result.queues or result.p95 > workload.latency_p95:
        return result
    # Open-loop users send on where they are not answered: the queue grows over the whole hour.
    until = WARM + max(HOUR, _MIN_REQUESTS / rate)
    run = replica.run(arrivals(workload, replica, replicas, until), math.inf)
    return compute_metrics(run, WARM, max(until, run.seconds))


def single_user(workload: Workload, replica: ReplicaModel) -> RunMetrics:
    """Metrics of one user with a replica of their own: the fastest possible."""
    return peak_hour(workload, replica, workload.users)


def size(workload: Workload, replica: ReplicaModel) -> SizingResult | None:
    """Find the fewest replicas; None if even a replica for each user is too slow."""
    unloaded = single_user(workload, replica)
    if unloaded.p95 > workload.latency_p95:
        return None
    results: dict[int, RunMetrics] = {workload.users: unloaded}

    def enough(replicas: int) -> bool:
        if replicas not in results:
            results[replicas] = peak_hour(workload, replica, replicas)
        return results[replicas].p95 <= workload.latency_p95

    result = _fewest(enough, workload.users)
    return SizingResult(replicas=result, peak_hour=results[result], fewer=results.get(result - 1), single_user=unloaded)


def most_users(workload: Workload, replica: ReplicaModel, replicas: int) -> int:
    """The most users whose requests `replicas` replicas answer in time, with an even share each; 0 if none."""

    def too_many(users: int) -> bool:
        return peak_hour(replace(workload, users=users), replica, 1).p95 > workload.latency_p95

    return (_fewest(too_many, workload.users) - 1) * replicas


def _fewest(condition: Callable[[int], bool], most: int) -> int:
    """The smallest number from 1 to `most` for which a monotonic condition holds, by exponential and binary search."""
    low, high = 0, 1
    while high < most and not condition(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if condition(middle) else (middle, high)
    return high
