"""Requests come to one replica until all are answered, or the time is over.

A heap of what is to come is all that is needed: a library of processes would do for each request, in Python, what is
taken here in one step for many.
"""

import heapq
import itertools
import math
from dataclasses import dataclass

from .arrivals import Arrivals
from .replica_simulator import Replica, Used
from .simulated_request import SimulatedRequest


@dataclass(frozen=True, slots=True)
class Run:
    """What was answered, in the order of its end; when the last was; what the replica did for it; what still ran."""

    answered: tuple[SimulatedRequest, ...]
    seconds: float
    used: Used
    unanswered: int


def simulate(arrivals: Arrivals, replica: Replica, until: float = math.inf) -> Run:
    """Seconds from 0 on. With `until`, what is asked from then on does not come, and no step begins."""
    to_come: list[tuple[float, int, SimulatedRequest]] = []
    numbers = itertools.count()
    own = arrivals.first()
    answered: list[SimulatedRequest] = []
    now, outside = 0.0, replica.cost.request

    def expect(request: SimulatedRequest | None) -> None:
        if request is not None:
            # What a client waits for beside the engine, it waits for before it here.
            heapq.heappush(to_come, (request.asked + outside, next(numbers), request))

    # Requests that come by themselves are ordered: the next one is enough.
    expect(coming := next(own, None))
    while now < until:
        while to_come and to_come[0][0] <= now:
            request = heapq.heappop(to_come)[2]
            if request is coming:
                expect(coming := next(own, None))
            replica.waiting.append(request)
        upcoming = to_come[0][0] if to_come else math.inf
        if replica.idle:
            if upcoming == math.inf:
                break
            now = upcoming
            continue
        now, ended = replica.advance(now, min(upcoming, until))
        answered += ended
        for request in ended:
            expect(arrivals.after(request))
    return Run(tuple(answered), now, replica.used, replica.running + len(replica.waiting))
