"""Detects whether another process hangs, by its heartbeat."""

import time
from collections.abc import Callable

BEAT_SECONDS = 1.0
"""Interval at which the API process sends a heartbeat from its event loop."""

CHECK_SECONDS = 0.5
"""Interval at which the supervisor checks the heartbeat."""


class Heartbeat:
    """Counts the seconds without a heartbeat, as far as this process was running to receive one.

    While this process did not run, since the machine was suspended or its own loop was busy, the other may not have
    run either. So at most twice CHECK_SECONDS count between two updates.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._updated = clock()
        self.silent_seconds = 0.0

    def beat(self) -> None:
        """Record a heartbeat of the other process."""
        self.silent_seconds = 0.0

    def update(self) -> None:
        """Add the time since the last update to `silent_seconds`."""
        now = self._clock()
        self.silent_seconds += min(now - self._updated, 2 * CHECK_SECONDS)
        self._updated = now
