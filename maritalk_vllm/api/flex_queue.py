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
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._granting: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Wait for a place. Raises TooManyRequests if none gets free in time, or too many wait already."""
        if not self._waiting and self._free_places > 0:
            return
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyRequests(
                f"{MAX_WAITING} requests of the tier flex wait already.", "Try again later.", RETRY_SECONDS
            )
        seconds = self._timeout_seconds()
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        if self._granting is None or self._granting.done():
            self._granting = asyncio.create_task(self._grant())
        try:
            async with asyncio.timeout(seconds):
                await place
        except TimeoutError:
            raise TooManyRequests(
                f"The tier flex had no place for this request within {seconds:g} s.",
                "Try again later, or leave service_tier out.",
                RETRY_SECONDS,
            ) from None
        finally:
            if place in self._waiting:
                self._waiting.remove(place)

    async def _grant(self) -> None:
        """Grant the free places until none waits. Granted requests count as unfinished before the next look."""
        while self._waiting:
            for _ in range(min(self._free_places, len(self._waiting))):
                place = self._waiting.popleft()
                if not place.done():  # the client has not disconnected
                    place.set_result(None)
            await asyncio.sleep(_POLL_SECONDS)

    @property
    def _free_places(self) -> int:
        """Requests that the engine would compute at once. It sets lines of batches aside for them."""
        return self._load.places - (self._load.unfinished - self._load.lines)
