"""Whether another process is alive, by the signs that it gives."""

import time
from collections.abc import Callable

BEAT_SECONDS = 1.0
"""How often the API process shows that its event loop runs."""

LOOK_SECONDS = 0.5
"""How often the supervisor looks."""


class Heartbeat:
    """The silence of the other process, as far as this one was awake to hear it.

    Where this process did not run, since its machine was suspended or it was busy itself, the other may not have run
    either: of the time between two looks, no more counts than twice LOOK_SECONDS.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self.silent_seconds = 0.0

    def heard(self) -> None:
        """The other process has given a sign."""
        self.silent_seconds = 0.0

    def look(self) -> None:
        """Time has passed."""
        now = self._clock()
        self.silent_seconds += min(now - self._looked, 2 * LOOK_SECONDS)
        self._looked = now
