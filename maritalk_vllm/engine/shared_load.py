"""The engine load of all API processes of a server, in shared memory."""

import time

ENGINES = 64
"""Replicas whose KV cache is shown; further ones share the last place. A node has fewer GPUs."""

_SLOT_BYTES = 64
"""Each process writes its own slot alone, in a cache line of its own, so that no lock is needed."""

_REQUESTS, _LINES, _QUEUED_TOKENS, _LAST_STEP = range(4)
_WORD = 8
_FIELDS = _SLOT_BYTES // _WORD


def size_bytes(processes: int) -> int:
    """Size of the memory for a number of API processes."""
    return processes * _SLOT_BYTES + ENGINES * _WORD


class SharedLoad:
    """Counts of all API processes, seen by one of them. It has the methods of vLLM's SharedAdmissionStats."""

    def __init__(self, memory: memoryview, index: int, count: int) -> None:
        """`memory`: of `size_bytes(count)`, a slot for each process and then the replicas. `index`: of this process."""
        self._integers = memory.cast("q")
        self._floats = memory.cast("d")
        self._own = index * _FIELDS
        self._slots = range(0, count * _FIELDS, _FIELDS)
        self._engines = count * _FIELDS

    def clear(self) -> None:
        """Forget what the process with this index has counted."""
        self.set_num_requests(0)
        self.set_lines(0)
        self.set_queued_tokens(0)

    def set_num_requests(self, number: int) -> None:
        """Set the number of unfinished requests of this process."""
        self._integers[self._own + _REQUESTS] = number

    def get_num_requests(self) -> int:
        """The number of unfinished requests of all processes."""
        return sum(self._integers[slot + _REQUESTS] for slot in self._slots)

    def set_lines(self, number: int) -> None:
        """Set the number of those among the unfinished requests of this process that are lines of batches."""
        self._integers[self._own + _LINES] = number

    def get_lines(self) -> int:
        """The number of such requests of all processes."""
        return sum(self._integers[slot + _LINES] for slot in self._slots)

    def set_queued_tokens(self, number: int) -> None:
        """Set the number of prompt tokens of this process's requests that have no token of an answer yet."""
        self._integers[self._own + _QUEUED_TOKENS] = number

    def get_queued_tokens(self) -> int:
        """The number of such tokens of all processes."""
        return sum(self._integers[slot + _QUEUED_TOKENS] for slot in self._slots)

    def set_kv_cache_usage(self, engine: int, usage: float) -> None:
        """Set the used fraction of a replica's KV cache: after a step, vLLM reports it to one of the processes."""
        self._floats[self._engines + min(engine, ENGINES - 1)] = usage

    @property
    def kv_cache_usage(self) -> float:
        """The used fraction of the fullest replica's KV cache, from 0 to 1."""
        return max(self._floats[self._engines : self._engines + ENGINES])

    def record_step(self) -> None:
        """Record that an output of the engine has reached this process."""
        self._floats[self._own + _LAST_STEP] = time.monotonic()  # the same clock in all processes

    @property
    def last_step(self) -> float:
        """When an output has reached any process, on the monotonic clock; 0 if none has."""
        return max(self._floats[slot + _LAST_STEP] for slot in self._slots)
