"""How often the engine is started again, and how soon."""

import time

WINDOW_SECONDS = 600
_PAUSES = (0.0, 1.0, 5.0, 10.0)


class RestartPolicy:
    """At most so many within ten minutes, each after a longer pause."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: list[float] = []

    def next_delay(self) -> float | None:
        """Seconds to wait before one more; None if there were too many."""
        now = time.monotonic()
        self._times = [each for each in self._times if each > now - WINDOW_SECONDS]
        if len(self._times) >= self._most:
            return None
        self._times.append(now)
        return _PAUSES[min(len(self._times), len(_PAUSES)) - 1]
