"""The engine load of all API processes of a server, in shared memory."""

import time

SLOT_BYTES = 64
"""Each process writes its own slot alone, in a cache line of its own, so that no lock is needed."""

_REQUESTS, _QUEUED_TOKENS, _LAST_STEP = range(3)
_FIELDS = SLOT_BYTES // 8


class SharedLoad:
    """Counts of all API processes, seen by one of them. It has the methods of vLLM's SharedAdmissionStats."""

    def __init__(self, memory: memoryview, index: int, count: int) -> None:
        """`memory` has `count` slots of SLOT_BYTES; `index` is that of this process."""
        self._integers = memory.cast("q")
        self._floats = memory.cast("d")
        self._own = index * _FIELDS
        self._slots = range(0, count * _FIELDS, _FIELDS)

    def clear(self) -> None:
        """Forget what the process with this index has counted."""
        self.set_num_requests(0)
        self.set_queued_tokens(0)

    def set_num_requests(self, number: int) -> None:
        """Set the number of unfinished requests of this process."""
        self._integers[self._own + _REQUESTS] = number

    def get_num_requests(self) -> int:
        """The number of unfinished requests of all processes."""
        return sum(self._integers[slot + _REQUESTS] for slot in self._slots)

    def set_queued_tokens(self, number: int) -> None:
        """Set the number of prompt tokens of this process's requests that have no token of an answer yet."""
        self._integers[self._own + _QUEUED_TOKENS] = number

    def get_queued_tokens(self) -> int:
        """The number of such tokens of all processes."""
        return sum(self._integers[slot + _QUEUED_TOKENS] for slot in self._slots)

    def record_step(self) -> None:
        """Record that an output of the engine has reached this process."""
        self._floats[self._own + _LAST_STEP] = time.monotonic()  # the same clock in all processes

    @property
    def last_step(self) -> float:
        """When an output has reached any process, on the monotonic clock; 0 if none has."""
        return max(self._floats[slot + _LAST_STEP] for slot in self._slots)
