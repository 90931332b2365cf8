"""The number of batch lines in the engine at once: the capacity that interactive requests leave."""

GROW_BELOW = 0.7
"""Usage of the KV cache below which more lines are admitted."""

SHRINK_ABOVE = 0.9
"""Usage of the KV cache above which fewer are: from here on, vLLM would soon preempt requests."""

SHARE_BESIDE_PEOPLE = 0.25
"""Share of the engine's places that lines may take while interactive requests run: each line lengthens their steps."""


FREE_SHARE = 1 / 16
"""Share of the places that lines always leave free: vLLM preempts for memory, but not for a place."""


class LineWindow:
    """A number of lines that grows by a half while the KV cache has room, and shrinks by a quarter when it fills up."""

    def __init__(self, places: int) -> None:
        """`places`: requests that the engine runs at once."""
        places = self._places = max(1, places - max(1, round(places * FREE_SHARE)))
        self._size = max(1, places // 4)

    def update(self, kv_cache_usage: float, interactive: int, used: int) -> int:
        """Return the number of lines for the next moment. To be called a few times a second.

        `kv_cache_usage`: from 0 to 1, `interactive`: requests of other tiers in the engine, `used`: lines in it. A
        window that is not used does not grow.
        """
        if kv_cache_usage > SHRINK_ABOVE:
            self._size = self._size * 3 // 4
        elif kv_cache_usage < GROW_BELOW and used >= self._size:
            self._size += max(1, self._size // 2)
        share = round(self._places * SHARE_BESIDE_PEOPLE) if interactive else self._places
        self._size = max(1, min(self._size, self._places))
        return max(1, min(self._size, share, self._places - interactive))
