"""Wait for a server that other tests use too."""

import time
from collections.abc import Callable


def when_idle(status: Callable[[], dict[str, str]], seconds: float = 60) -> dict[str, str]:
    """The first status that is not `busy`, or the last one when the time has elapsed."""
    deadline = time.monotonic() + seconds
    while (now := status()) == {"status": "busy"} and time.monotonic() < deadline:
        time.sleep(0.05)
    return now
