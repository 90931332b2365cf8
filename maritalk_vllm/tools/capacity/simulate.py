"""Event loop of the simulation: requests arrive at one replica until all are answered, or time is up.

A heap of future arrivals is enough: a process-based simulation library would run Python code for each request and step,
where the replica simulates many steps as one.
"""

import heapq
import itertools
import math
from dataclasses import dataclass

from .arrivals import Arrivals
from .replica_simulator import ReplicaSimulator, ReplicaStats
from .simulated_request import SimulatedRequest


@dataclass(frozen=True, slots=True)
class SimulationRun:
    """Answered requests in order of completion, the end of the run in seconds, the stats, and unanswered requests."""

    answered: tuple[SimulatedRequest, ...]
    seconds: float
    stats: ReplicaStats
    unanswered: int


def simulate(arrivals: Arrivals, replica: ReplicaSimulator, until: float = math.inf) -> SimulationRun:
    """Run from second 0. With `until`, later requests do not arrive and no step starts after it."""
    pending: list[tuple[float, int, SimulatedRequest]] = []
    numbers = itertools.count()
    initial = arrivals.initial()
    answered: list[SimulatedRequest] = []
    now, overhead = 0.0, replica.cost.request

    def schedule(request: SimulatedRequest | None) -> None:
        if request is not None:
            # The whole latency outside the engine is added before the engine.
            heapq.heappush(pending, (request.arrived + overhead, next(numbers), request))

    # Initial requests are ordered by arrival: the next one is enough.
    schedule(next_initial := next(initial, None))
    while now < until:
        while pending and pending[0][0] <= now:
            request = heapq.heappop(pending)[2]
            if request is next_initial:
                schedule(next_initial := next(initial, None))
            replica.waiting.append(request)
        upcoming = pending[0][0] if pending else math.inf
        if replica.idle:
            if upcoming == math.inf:
                break
            now = upcoming
            continue
        now, finished = replica.advance(now, min(upcoming, until))
        answered += finished
        for request in finished:
            schedule(arrivals.follow_up(request))
    return SimulationRun(tuple(answered), now, replica.stats, replica.running + len(replica.waiting))
