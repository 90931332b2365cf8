"""How long a start may take."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StartDeadline:
    """The seconds that a start may take in all. They pass while it runs, and not while other nodes are waited for."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._since: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time passes as long as this lasts."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._left, self._since = self.left, None

    @property
    def left(self) -> float:
        """How many seconds are left, negative ones too; infinitely many while it does not run."""
        return math.inf if self._since is None else self._left - (time.monotonic() - self._since)
