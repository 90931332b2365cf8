"""The number of batch lines in the engine at once: the capacity that interactive requests leave."""

import math
import time
from collections.abc import Callable

GROW_BELOW = 0.7
"""Usage of the KV cache below which more lines are admitted."""

SHRINK_ABOVE = 0.9
"""Usage of the KV cache above which fewer are: from here on, vLLM would soon preempt requests."""

SHARE_BESIDE_PEOPLE = 0.25
"""Share of a GPU's places that lines may take beside interactive requests, whose steps each line lengthens a little."""

LINES_A_REQUEST = 1 / 8
"""Lines for each interactive request beside them on a processor, where a step takes as long as its tokens require."""

QUIET_SECONDS = 5.0
"""Time without an interactive request after which lines take all places: those of a moment between two requests would
stay in the engine for as long as their answers take."""

FREE_SHARE = 1 / 16
"""Share of the places that lines always leave free: vLLM preempts for memory, but not for a place."""


class LineWindow:
    """A number of lines that grows by a half while the KV cache has room, and shrinks by a quarter when it fills up."""

    def __init__(
        self, places: int, *, is_compute_bound: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`places`: requests that the engine runs at once. `is_compute_bound`: as EngineLoad has it."""
        places = self._places = max(1, places - max(1, round(places * FREE_SHARE)))
        self._size = max(1, places // 4)
        self._is_compute_bound = is_compute_bound
        self._clock = clock
        self._last_interactive = -math.inf

    def update(self, kv_cache_usage: float, interactive: int, used: int) -> int:
        """Return the number of lines for the next moment. To be called a few times a second.

        `kv_cache_usage`: from 0 to 1, `interactive`: requests of other tiers in the engine, `used`: lines in it. A
        window that is not used does not grow.
        """
        if kv_cache_usage > SHRINK_ABOVE:
            self._size = self._size * 3 // 4
        elif kv_cache_usage < GROW_BELOW and used >= self._size:
            self._size += max(1, self._size // 2)
        self._size = max(1, min(self._size, self._places))
        return max(1, min(self._size, self._share(interactive), self._places - interactive))

    def _share(self, interactive: int) -> int:
        """The most lines beside interactive requests, also between two of them."""
        now = self._clock()
        if interactive:
            self._last_interactive = now
        if now - self._last_interactive >= QUIET_SECONDS:
            return self._places
        return round(interactive * LINES_A_REQUEST if self._is_compute_bound else self._places * SHARE_BESIDE_PEOPLE)
