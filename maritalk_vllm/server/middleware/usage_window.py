"""Fixed one-minute usage windows per API key, by a monotonic clock."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

SECONDS = 60.0

Kind = Literal["requests", "tokens", "batch_tokens"]
"""What is counted: a key has a window of its own for each."""


@dataclass(slots=True)
class _Window:
    """One key's window: its start, the charged amount, and the amount that in-flight requests reserve."""

    started_at: float
    charged: int = 0
    reserved: int = 0


class Window(Protocol):
    """Interface of _Window; in the memory of this process, or of several (shared_usage)."""

    started_at: float
    charged: int
    reserved: int


class Windows(Protocol):
    """The windows of all keys. `limit`: the one that they were counted by last, 0 if there was none yet."""

    limit: int

    def of(self, key: str, now: float) -> Window:
        """The window of a key, which begins `now` if there is none."""

    def all(self, now: float) -> Iterable[Window]:
        """All windows."""


class LocalWindows:
    """The windows of the keys in one process."""

    def __init__(self) -> None:
        self.limit = 0
        self._windows: dict[str, Window] = {}

    def of(self, key: str, now: float) -> Window:
        """The window of a key, which begins `now` if there is none."""
        return self._windows.setdefault(key, _Window(now))

    def all(self, now: float) -> Iterable[Window]:
        """All windows."""
        return self._windows.values()


class UsageWindow:
    """A limit of `limit` requests or tokens per minute and key. A key's window starts with its first request.

    Usage charged beyond the limit is carried over to the following windows.
    """

    def __init__(self, limit: int, what: Kind, windows: Windows | None = None) -> None:
        """`windows`: shared by several processes, if given; another process may have set the limit already."""
        self.limit = limit
        self.what = what
        self._windows = windows or LocalWindows()
        self.set_limit(limit)

    def set_limit(self, limit: int) -> None:
        """Replace the limit. Usage within the old limit counts as at most one full window of the new one."""
        before, now = self._windows.limit, time.monotonic()
        if before not in (0, limit):
            for window in self._windows.all(now):
                _begin_next(window, before, now)
                window.charged -= max(0, min(window.charged, before) - limit)
        self.limit = self._windows.limit = limit

    def is_used_up(self, key: str) -> bool:
        """Whether the charged usage alone has reached the limit, without reservations."""
        return self._current(key).charged >= self.limit

    def remaining(self, key: str) -> int:
        """Return the amount neither charged nor reserved; negative if more than the limit was charged."""
        window = self._current(key)
        return self.limit - window.charged - window.reserved

    def charge(self, key: str, amount: int) -> None:
        """Record that `amount` was used."""
        self._current(key).charged += amount

    def reserve(self, key: str, amount: int) -> None:
        """Reserve `amount` for an in-flight request; a negative amount releases a reservation."""
        self._current(key).reserved += amount

    def wait_seconds(self, key: str, amount: int) -> int:
        """Return the seconds until `amount` may be available.

        1 if only reservations are in the way, since they can end at any time; else the time until enough windows have
        passed.
        """
        window = self._current(key)
        if window.charged + amount <= self.limit:
            return 1
        minutes = max(1, math.ceil((window.charged + amount - self.limit) / self.limit))
        return max(1, math.ceil(window.started_at + minutes * SECONDS - time.monotonic()))

    def _current(self, key: str) -> Window:
        now = time.monotonic()
        window = self._windows.of(key, now)
        _begin_next(window, self.limit, now)
        return window


def _begin_next(window: Window, limit: int, now: float) -> None:
    """Replace a window whose minute has passed by the next one."""
    passed = int((now - window.started_at) / SECONDS)
    if passed:
        window.charged = max(0, window.charged - passed * limit)
        # Without carried-over usage, the next window starts with the key's next request.
        window.started_at = window.started_at + passed * SECONDS if window.charged else now
