"""What each API key has used of its minute, by a clock that nobody sets back."""

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


class Minute:
    """At most `limit` of one thing a minute, for each key by itself. A key's minute begins with its first request.

    What is charged beyond the limit is taken off the minutes that follow.
    """

    def __init__(self, limit: int, what: Literal["requests", "tokens"]) -> None:
        self.limit = limit
        self.what = what
        self._spent: dict[str, _Spent] = {}

    def left(self, key: str) -> int:
        """What the key may still have: neither charged nor reserved; below 0 after more was charged than there was."""
        spent = self._now(key)
        return self.limit - spent.charged - spent.reserved

    def charge(self, key: str, amount: int) -> None:
        """It was used."""
        self._now(key).charged += amount

    def reserve(self, key: str, amount: int) -> None:
        """A request in flight may come to so much; a negative amount gives it back."""
        self._now(key).reserved += amount

    def wait_seconds(self, key: str, amount: int) -> int:
        """When to ask again for so much: soon where a request in flight reserves it, else when minutes have passed."""
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
