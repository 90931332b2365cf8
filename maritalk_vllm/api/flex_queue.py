"""The queue of requests with `service_tier: "flex"`, which wait until interactive ones leave a place."""

import asyncio
from collections import deque
from collections.abc import Callable

from ..engine.engine_load import EngineLoad
from ..errors import TooManyRequests

MAX_WAITING = 256
"""Requests that wait at most; the next is rejected at once."""

RETRY_SECONDS = 30
_POLL_SECONDS = 0.1


class FlexQueue:
    """Requests that wait for a place in the engine, in the order of their arrival."""

    def __init__(self, load: EngineLoad, timeout_seconds: Callable[[], float]) -> None:
        """`timeout_seconds`: how long each may wait."""
        self._load = load
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[object] = deque()

    async def wait(self) -> None:
        """Wait for a place. Raises TooManyRequests if none gets free in time, or too many wait already."""
        if not self._waiting and self._has_place:
            return
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyRequests(
                f"{MAX_WAITING} requests of the tier flex wait already.", "Try again later.", RETRY_SECONDS
            )
        loop = asyncio.get_running_loop()
        seconds = self._timeout_seconds()
        deadline = loop.time() + seconds
        ticket = object()
        self._waiting.append(ticket)
        try:
            while not (self._waiting[0] is ticket and self._has_place):
                if (left := deadline - loop.time()) <= 0:
                    raise TooManyRequests(
                        f"The tier flex had no place for this request within {seconds:g} s.",
                        "Try again later, or leave service_tier out.",
                        RETRY_SECONDS,
                    )
                await asyncio.sleep(min(_POLL_SECONDS, left))
        finally:
            self._waiting.remove(ticket)

    @property
    def _has_place(self) -> bool:
        """Whether the engine would compute another request at once. It sets lines of batches aside for it."""
        return self._load.unfinished - self._load.lines < self._load.places
