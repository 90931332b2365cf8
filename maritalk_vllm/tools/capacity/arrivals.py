"""Arrival processes of requests. The same seed gives the same arrivals."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Protocol

from .simulated_request import SimulatedRequest
from .token_lengths import TokenLengths

_MAX_JITTER = 0.01
"""Seconds over which users that were answered together spread their next requests, so that these have an order."""

DemandCurve = Callable[[float], float]
"""Relative demand at a time in seconds since midnight: 1 at the peak."""


def constant_demand(_: float) -> float:
    """Peak demand at all times."""
    return 1.0


class Arrivals(Protocol):
    """A source of requests: initial ones, and follow-ups to completed ones."""

    def initial(self) -> Iterator[SimulatedRequest]:
        """Requests that depend on no response, in order of arrival."""

    def follow_up(self, request: SimulatedRequest) -> SimulatedRequest | None:
        """The same user's next request after a completed one; None if there is none, or if `initial` has it."""


class ClosedLoopUsers:
    """Users who send their next request `think` seconds after a response, on average (exponential).

    That is at the peak; at other hours `demand` scales the rate of each user. All are thinking at the start.
    """

    def __init__(
        self, users: int, think: float, lengths: TokenLengths, seed: int, demand: DemandCurve = constant_demand
    ) -> None:
        self._users, self._think, self._lengths, self._demand = users, think, lengths, demand
        self._rng = random.Random(seed)

    def initial(self) -> Iterator[SimulatedRequest]:
        """Each user's first request, by arrival."""
        return iter(sorted((self._next(user, 0.0) for user in range(self._users)), key=lambda each: each.arrived))

    def follow_up(self, request: SimulatedRequest) -> SimulatedRequest | None:
        """The user's next request, after the think time."""
        assert request.finished is not None
        return self._next(request.user, request.finished)

    def _next(self, user: int, at: float) -> SimulatedRequest:
        rng = self._rng
        while True:
            at += rng.expovariate(1 / self._think)
            if rng.random() < self._demand(at):
                return SimulatedRequest(user, at, *self._lengths.draw(rng))


class PoissonArrivals:
    """A Poisson process of `rate` requests a second at the peak, scaled by `demand`, until `seconds`."""

    def __init__(
        self, rate: float, seconds: float, lengths: TokenLengths, seed: int, demand: DemandCurve = constant_demand
    ) -> None:
        self._rate, self._seconds, self._lengths, self._demand = rate, seconds, lengths, demand
        self._seed = seed

    def initial(self) -> Iterator[SimulatedRequest]:
        """All requests."""
        # Lengths have a generator of their own, so that arrival times equal those of bench/load_generator.py.
        rng, length_rng = random.Random(self._seed), random.Random(self._seed + 1)
        at = rng.expovariate(self._rate)
        for user in itertools.count():
            if at >= self._seconds:
                return
            if self._demand is constant_demand or length_rng.random() < self._demand(at):
                yield SimulatedRequest(user, at, *self._lengths.draw(length_rng))
            at += rng.expovariate(self._rate)

    def follow_up(self, _: SimulatedRequest) -> None:
        """None: arrivals do not depend on responses."""


class SaturatingUsers:
    """Closed-loop users without think time, until `requests` were sent in total."""

    def __init__(self, users: int, requests: int, lengths: TokenLengths, seed: int) -> None:
        self._users, self._remaining, self._lengths = users, requests, lengths
        self._rng = random.Random(seed)

    def initial(self) -> Iterator[SimulatedRequest]:
        """One request of each user, within `_MAX_JITTER`."""
        requests = [request for user in range(self._users) if (request := self._next(user, 0.0)) is not None]
        return iter(sorted(requests, key=lambda each: each.arrived))

    def follow_up(self, request: SimulatedRequest) -> SimulatedRequest | None:
        """The user's next request, within `_MAX_JITTER`."""
        assert request.finished is not None
        return self._next(request.user, request.finished)

    def _next(self, user: int, at: float) -> SimulatedRequest | None:
        if not self._remaining:
            return None
        self._remaining -= 1
        at += _MAX_JITTER * self._rng.random()
        return SimulatedRequest(user, at, *self._lengths.draw(self._rng))
