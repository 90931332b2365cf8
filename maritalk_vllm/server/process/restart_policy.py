"""Limits how often the engine is restarted, with increasing delays."""

import time

WINDOW_SECONDS = 600
_DELAYS = (0.0, 1.0, 5.0, 10.0)
"""In seconds; the last one repeats."""


class RestartPolicy:
    """At most `max_restarts` within WINDOW_SECONDS, with the delays of _DELAYS."""

    def __init__(self, max_restarts: int) -> None:
        self._max_restarts = max_restarts
        self._times: list[float] = []

    def next_delay(self) -> float | None:
        """Seconds to wait before the next restart, which is counted; None if the limit is reached."""
        now = time.monotonic()
        self._times = [each for each in self._times if each > now - WINDOW_SECONDS]
        if len(self._times) >= self._max_restarts:
            return None
        self._times.append(now)
        return _DELAYS[min(len(self._times), len(_DELAYS)) - 1]
