"""When requests come. The same seed makes the same arrivals."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Protocol

from .simulated_request import SimulatedRequest
from .token_lengths import Lengths

_APART = 0.01
"""Seconds within which those who are answered at once ask again: one after the other, so that the first goes ahead."""

Shape = Callable[[float], float]
"""How much is asked at a time, in seconds since midnight: the busiest is 1."""


def always(_: float) -> float:
    """The busiest hour, without end."""
    return 1.0


class Arrivals(Protocol):
    """Requests that come by themselves, in their order, and those that come because another was answered."""

    def first(self) -> Iterator[SimulatedRequest]:
        """By themselves."""

    def after(self, request: SimulatedRequest) -> SimulatedRequest | None:
        """Its user's next, once it was answered; None if there is none, or if it comes by itself."""


class ClosedLoopUsers:
    """Users who read, think and ask again: so many seconds after an answer on average (exponential).

    That is at the busiest; at other hours each asks as much less as the `shape` says. All are thinking at the start.
    """

    def __init__(self, users: int, think: float, lengths: Lengths, seed: int, shape: Shape = always) -> None:
        self._users, self._think, self._lengths, self._shape = users, think, lengths, shape
        self._chance = random.Random(seed)

    def first(self) -> Iterator[SimulatedRequest]:
        """Each user's first, by time."""
        return iter(sorted((self._next(user, 0.0) for user in range(self._users)), key=lambda each: each.asked))

    def after(self, request: SimulatedRequest) -> SimulatedRequest | None:
        """When they have thought about it."""
        assert request.ended is not None
        return self._next(request.user, request.ended)

    def _next(self, user: int, at: float) -> SimulatedRequest:
        chance = self._chance
        while True:
            at += chance.expovariate(1 / self._think)
            if chance.random() < self._shape(at):
                return SimulatedRequest(user, at, *self._lengths.draw(chance))


class PoissonArrivals:
    """`rate` requests a second on average in the busiest hour, whenever they come (Poisson), until `seconds`."""

    def __init__(self, rate: float, seconds: float, lengths: Lengths, seed: int, shape: Shape = always) -> None:
        self._rate, self._seconds, self._lengths, self._shape = rate, seconds, lengths, shape
        self._seed = seed

    def first(self) -> Iterator[SimulatedRequest]:
        """All of them."""
        # Lengths are drawn by themselves, so that the times are those of bench/load.
        chance, other = random.Random(self._seed), random.Random(self._seed + 1)
        at = chance.expovariate(self._rate)
        for user in itertools.count():
            if at >= self._seconds:
                return
            if self._shape is always or other.random() < self._shape(at):
                yield SimulatedRequest(user, at, *self._lengths.draw(other))
            at += chance.expovariate(self._rate)

    def after(self, _: SimulatedRequest) -> None:
        """Nothing: they come by themselves."""


class SaturatingUsers:
    """So many users, each of whom asks again as soon as it is answered, until `requests` were asked in all."""

    def __init__(self, users: int, requests: int, lengths: Lengths, seed: int) -> None:
        self._users, self._left, self._lengths = users, requests, lengths
        self._chance = random.Random(seed)

    def first(self) -> Iterator[SimulatedRequest]:
        """One of each user, nearly at once."""
        found = [request for user in range(self._users) if (request := self._next(user, 0.0)) is not None]
        return iter(sorted(found, key=lambda each: each.asked))

    def after(self, request: SimulatedRequest) -> SimulatedRequest | None:
        """At once."""
        assert request.ended is not None
        return self._next(request.user, request.ended)

    def _next(self, user: int, at: float) -> SimulatedRequest | None:
        if not self._left:
            return None
        self._left -= 1
        at += _APART * self._chance.random()
        return SimulatedRequest(user, at, *self._lengths.draw(self._chance))
