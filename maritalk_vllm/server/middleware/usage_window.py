"""The usage of each API key in its minute, by a monotonic clock."""

import math
import time
from dataclasses import dataclass
from typing import Literal

SECONDS = 60.0


@dataclass(slots=True)
class _Spent:
    """One key's minute: when it began, what was charged in it, and what is reserved by requests in flight."""

    began: float
    charged: int = 0
    reserved: int = 0


class UsageWindow:
    """At most `limit` of one thing a minute, for each key by itself. A key's minute begins with its first request.

    What is charged beyond the limit is taken off the minutes that follow.
    """

    def __init__(self, limit: int, what: Literal["requests", "tokens"]) -> None:
        self.limit = limit
        self.what = what
        self._spent: dict[str, _Spent] = {}

    def limited(self, limit: int) -> None:
        """Another limit holds from now on. What was within the old one is at most a whole minute of the new one."""
        for key in self._spent:
            spent = self._now(key)
            spent.charged -= max(0, min(spent.charged, self.limit) - limit)
        self.limit = limit

    def is_used_up(self, key: str) -> bool:
        """Whether the key was charged with all of it; else reservations may still fill it."""
        return self._now(key).charged >= self.limit

    def left(self, key: str) -> int:
        """How much of it is neither charged nor reserved; below 0 after more was charged than the limit."""
        spent = self._now(key)
        return self.limit - spent.charged - spent.reserved

    def charge(self, key: str, amount: int) -> None:
        """So much was used."""
        self._now(key).charged += amount

    def reserve(self, key: str, amount: int) -> None:
        """A request in flight may come to so much; a negative amount gives it back."""
        self._now(key).reserved += amount

    def wait_seconds(self, key: str, amount: int) -> int:
        """How long until so much may be left: 1 where requests in flight reserve it, else until minutes have passed."""
        spent = self._now(key)
        if spent.charged + amount <= self.limit:
            return 1
        minutes = max(1, math.ceil((spent.charged + amount - self.limit) / self.limit))
        return max(1, math.ceil(spent.began + minutes * SECONDS - time.monotonic()))

    def _now(self, key: str) -> _Spent:
        now = time.monotonic()
        spent = self._spent.setdefault(key, _Spent(now))
        passed = int((now - spent.began) / SECONDS)
        if passed:
            spent.charged = max(0, spent.charged - passed * self.limit)
            # A key without debts begins its next minute with its next request.
            spent.began = spent.began + passed * SECONDS if spent.charged else now
        return spent
