"""A working day: little at night, a peak in the afternoon."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..bench.latency_metrics import Percentiles
from .arrivals import DemandCurve
from .replica_model import ReplicaModel
from .simulated_request import SimulatedRequest
from .sizing import HOUR, arrivals, peak_request_rate
from .workload import Workload

HOURS = 24
PEAK_HOUR = 15
"""Start of the peak hour, 15:00."""

_MIN_DEMAND = 0.02
"""Lowest demand of the day, relative to the peak."""

_MANY_REQUESTS = 60_000
"""Requests of a replica's day that take some seconds to simulate."""

_MAX_SPEEDUP = 6
"""At most so many hours are simulated in the time of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """Requests of all replicas in one hour, and their latency percentiles in seconds, None where there were none.

    `running` is the average number of concurrent requests in each replica.
    """

    hour: int
    requests: int
    p50: float | None
    p95: float | None
    running: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """Requests of the whole day, their p95 latency in seconds, and the hours."""

    requests: int
    p95: float
    hours: tuple[Hour, ...]


def demand_curve(peak_share: float) -> DemandCurve:
    """Relative demand over the day, 1 in the middle of the peak hour, which has `peak_share` of the day's requests."""
    power = _solve_power(
        lambda power: 1 / sum(_diurnal_curve((hour + 0.5) * HOUR, power) for hour in range(HOURS)), peak_share
    )
    return lambda at: _diurnal_curve(at, power)


def simulate_day(workload: Workload, replica: ReplicaModel, replicas: int, *, queues: bool = False) -> Day:
    """Simulate one replica from midnight to midnight, and scale the counts to all replicas.

    Where a replica has many requests, only the first minutes of each hour are simulated, 10 at the least. Not where it
    `queues`: a queue grows over the whole hour.
    """
    requests_per_day = peak_request_rate(workload) * HOUR / workload.peak_share / replicas
    speedup = 1 if queues else max(1, min(_MAX_SPEEDUP, round(requests_per_day / _MANY_REQUESTS)))
    hour, until, demand = HOUR / speedup, HOURS * HOUR / speedup, demand_curve(workload.peak_share)
    run = replica.run(arrivals(workload, replica, replicas, until, lambda at: demand(at * speedup)), until)
    by_hour: list[list[SimulatedRequest]] = [[] for _ in range(HOURS)]
    for request in run.answered:
        by_hour[int(request.arrived // hour)].append(request)
    latency = Percentiles.of(request.latency for request in run.answered)
    return Day(
        requests=len(run.answered) * replicas * speedup,
        p95=latency.p95 if latency else 0.0,
        hours=tuple(_hour(number, requests, replicas * speedup, hour) for number, requests in enumerate(by_hour)),
    )


def _hour(number: int, requests: list[SimulatedRequest], scale: int, seconds: float) -> Hour:
    latency = Percentiles.of(request.latency for request in requests)
    return Hour(
        hour=number,
        requests=len(requests) * scale,
        p50=latency.p50 if latency else None,
        p95=latency.p95 if latency else None,
        running=sum(request.latency for request in requests) / seconds,
    )


def _diurnal_curve(at: float, power: float) -> float:
    wave = (1 + math.cos(2 * math.pi * (at / HOUR - PEAK_HOUR - 0.5) / HOURS)) / 2
    return float(_MIN_DEMAND + (1 - _MIN_DEMAND) * wave**power)


def _solve_power(share: Callable[[float], float], wanted: float) -> float:
    """The exponent of `_diurnal_curve` at which the peak hour has the wanted share, by bisection."""
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) < wanted else (low, middle)
    return low
