"""Places for lines in flight, which are granted to the API keys in turn."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable


class LineSlots:
    """As many places as `resize` last set. Keys take turns, however many lines each has waiting."""

    def __init__(self, may_begin: Callable[[str], bool] = lambda owner: True) -> None:
        """`may_begin`: whether a line of a key may begin now. A key is asked again at each `resize`."""
        self.used = 0
        self._may_begin = may_begin
        self._size = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Waiters of each key; the key whose turn it is comes first."""

    @property
    def waiting(self) -> Iterable[str]:
        """The keys that have lines waiting."""
        return self._waiting.keys()

    def resize(self, size: int) -> None:
        """Have `size` places from now on; lines that are in flight keep theirs. 0 admits no line."""
        self._size = size
        self._grant()

    async def acquire(self, owner: str) -> None:
        """Wait for a place for a line of a key."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(waiter)
        self._grant()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        self.used -= 1
        self._grant()

    def _grant(self) -> None:
        while self.used < self._size:
            owner = next(filter(self._may_begin, self._waiting), None)
            if owner is None:
                return
            # To the end of the turn, or out of it.
            waiters = self._waiting.pop(owner)
            waiter = waiters.popleft()
            if waiters:
                self._waiting[owner] = waiters
            if not waiter.done():
                self.used += 1
                waiter.set_result(None)
