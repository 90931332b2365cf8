"""The fewest replicas that answer in time in the busiest hour.

One replica is simulated with its share of the users, who are spread evenly. More replicas are more of the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from .arrivals import Arrivals, ClosedLoopUsers, PoissonArrivals, Shape, always
from .replica_model import ReplicaModel
from .run_metrics import RunMetrics, figures
from .workload import Workload

SEED = 0
HOUR = 3600.0
WARM = 600.0
"""Seconds at the start of a run that do not count: the replica is empty at first."""

_LEAST_SECONDS = 600.0
_LEAST_REQUESTS = 2000
"""Counted of each run, so that its slowest twentieth is more than chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sized:
    """So many replicas, what each makes of its share of the busiest hour, and what it would with one replica fewer.

    `alone` is the same for a user who has a replica alone.
    """

    replicas: int
    busiest: RunMetrics
    fewer: RunMetrics | None
    alone: RunMetrics


def arrivals(workload: Workload, site: ReplicaModel, replicas: int, until: float, shape: Shape = always) -> Arrivals:
    """One replica's share of what comes."""
    lengths = site.lengths(workload)
    if workload.hourly is not None:
        return PoissonArrivals(workload.users * workload.hourly / HOUR / replicas, until, lengths, SEED, shape)
    return ClosedLoopUsers(math.ceil(workload.users / replicas), workload.think, lengths, SEED, shape)


def asked_per_second(workload: Workload) -> float:
    """Requests of all users in the busiest hour, if each were answered at once."""
    each = HOUR / workload.hourly if workload.hourly is not None else workload.think
    return workload.users / each


def busiest(workload: Workload, site: ReplicaModel, replicas: int) -> RunMetrics:
    """One of so many replicas, as it is in the busiest hour, for as long as enough is asked of it."""
    asked = asked_per_second(workload) / replicas
    until = WARM + max(_LEAST_SECONDS, _LEAST_REQUESTS / asked)
    found = figures(site.run(arrivals(workload, site, replicas, until), until), WARM, until)
    if workload.hourly is None or not found.queues or found.p95 > workload.latency_p95:
        return found
    # Those who ask whenever they like ask on where they are not answered: what waits grows through all of the hour.
    until = WARM + max(HOUR, _LEAST_REQUESTS / asked)
    run = site.run(arrivals(workload, site, replicas, until), math.inf)
    return figures(run, WARM, max(until, run.seconds))


def alone(workload: Workload, site: ReplicaModel) -> RunMetrics:
    """A user with a replica of their own: nothing is faster."""
    return busiest(workload, site, workload.users)


def size(workload: Workload, site: ReplicaModel) -> Sized | None:
    """The fewest replicas; None if even a replica for each user is too slow."""
    least = alone(workload, site)
    if least.p95 > workload.latency_p95:
        return None
    seen: dict[int, RunMetrics] = {workload.users: least}

    def enough(replicas: int) -> bool:
        if replicas not in seen:
            seen[replicas] = busiest(workload, site, replicas)
        return seen[replicas].p95 <= workload.latency_p95

    found = _fewest(enough, workload.users)
    return Sized(replicas=found, busiest=seen[found], fewer=seen.get(found - 1), alone=least)


def most_users(workload: Workload, site: ReplicaModel, replicas: int) -> int:
    """How many users so many replicas answer in time, by the share of each; 0 if none."""

    def too_many(users: int) -> bool:
        return busiest(replace(workload, users=users), site, 1).p95 > workload.latency_p95

    return (_fewest(too_many, workload.users) - 1) * replicas


def _fewest(true: Callable[[int], bool], most: int) -> int:
    """The smallest number from 1 to `most` for which it is true, as it then is for all that are greater."""
    low, high = 0, 1
    while high < most and not true(high):
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if true(middle) else (middle, high)
    return high
