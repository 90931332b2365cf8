"""The time limit of a start."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StartDeadline:
    """A time limit in seconds that counts only inside `running`, and not while the start waits for other nodes."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time inside this context."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._left, self._since = self.seconds_left, None

    @property
    def seconds_left(self) -> float:
        """Seconds left, negative after the deadline; infinity outside `running`."""
        return math.inf if self._since is None else self._left - (time.monotonic() - self._since)
