"""A working day: little at night, a peak in the afternoon."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..bench.latency_metrics import Percentiles
from .arrivals import Shape
from .replica_model import ReplicaModel
from .simulated_request import SimulatedRequest
from .sizing import HOUR, arrivals, asked_per_second
from .workload import Workload

HOURS = 24
PEAK_HOUR = 15
"""The busiest, from 15 o'clock on."""

_NIGHT = 0.02
"""Of what the busiest time asks, at the quietest."""

_MANY = 60_000
"""Requests of a replica's day that take some seconds to simulate."""

_FASTEST = 6
"""Hours in the time of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What is asked in one hour of all replicas, and how soon it is answered, in seconds; None where nothing was.

    `running` requests at once in each replica, on average.
    """

    hour: int
    requests: int
    p50: float | None
    p95: float | None
    running: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """All requests of the day, its hours, and the seconds within which 95 of 100 were answered."""

    requests: int
    p95: float
    hours: tuple[Hour, ...]


def shape(peak_share: float) -> Shape:
    """How much is asked at a time of the day, of which the busiest hour has this share; 1 in its middle."""
    power = _power(lambda power: 1 / sum(_hump((hour + 0.5) * HOUR, power) for hour in range(HOURS)), peak_share)
    return lambda at: _hump(at, power)


def simulate_day(workload: Workload, site: ReplicaModel, replicas: int, *, queues: bool = False) -> Day:
    """One of the replicas from midnight to midnight, told of all.

    Of a replica that many ask, an hour's first minutes are enough, and the next hour follows them: 10 at the least.
    Not where it `queues`: what waits grows for as long as the hour is.
    """
    asked = asked_per_second(workload) * HOUR / workload.peak_share / replicas
    pace = 1 if queues else max(1, min(_FASTEST, round(asked / _MANY)))
    hour, until, whole = HOUR / pace, HOURS * HOUR / pace, shape(workload.peak_share)
    run = site.run(arrivals(workload, site, replicas, until, lambda at: whole(at * pace)), until)
    by_hour: list[list[SimulatedRequest]] = [[] for _ in range(HOURS)]
    for request in run.answered:
        by_hour[int(request.asked // hour)].append(request)
    spread = Percentiles.of(request.latency for request in run.answered)
    return Day(
        requests=len(run.answered) * replicas * pace,
        p95=spread.p95 if spread else 0.0,
        hours=tuple(_hour(number, requests, replicas * pace, hour) for number, requests in enumerate(by_hour)),
    )


def _hour(number: int, requests: list[SimulatedRequest], times: int, seconds: float) -> Hour:
    spread = Percentiles.of(request.latency for request in requests)
    return Hour(
        hour=number,
        requests=len(requests) * times,
        p50=spread.p50 if spread else None,
        p95=spread.p95 if spread else None,
        running=sum(request.latency for request in requests) / seconds,
    )


def _hump(at: float, power: float) -> float:
    wave = (1 + math.cos(2 * math.pi * (at / HOUR - PEAK_HOUR - 0.5) / HOURS)) / 2
    return float(_NIGHT + (1 - _NIGHT) * wave**power)


def _power(share: Callable[[float], float], wanted: float) -> float:
    """How pointed the hump is, for the busiest hour to have this share."""
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) < wanted else (low, middle)
    return low
