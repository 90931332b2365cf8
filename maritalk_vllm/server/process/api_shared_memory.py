"""Shared memory of the API processes: the load of the engine, and the usage of the API keys."""

from typing import Self

from ...engine import shared_load
from ...engine.shared_load import SharedLoad
from ..messaging.shared_memory import SharedMemory
from ..middleware import shared_usage
from ..middleware.shared_usage import SharedUsage

_LOCK_SECONDS = 1.0
"""How long the supervisor waits for the lock. Only a process that hangs holds it longer than some microseconds."""


class ApiSharedMemory:
    """The memory, in the supervisor, which makes it, and in each of the API processes."""

    def __init__(self, memory: SharedMemory, processes: int) -> None:
        self._memory = memory
        self._processes = processes

    @classmethod
    def create(cls, processes: int) -> Self:
        """Make the memory for a number of API processes. Raises OSError."""
        return cls(SharedMemory.create(_size(processes)), processes)

    @classmethod
    def from_descriptor(cls, descriptor: int, processes: int) -> Self:
        """Map the memory that another process has made."""
        return cls(SharedMemory(descriptor, _size(processes)), processes)

    def fileno(self) -> int:
        """The descriptor, to be passed to an API process."""
        return self._memory.fileno()

    def load(self, index: int) -> SharedLoad:
        """The load of the engine, as an API process sees it."""
        size = shared_load.size_bytes(self._processes)
        return SharedLoad(self._memory.view[:size], index, self._processes)

    def usage(self, index: int) -> SharedUsage:
        """The usage of the API keys, as an API process sees it."""
        start = shared_load.size_bytes(self._processes)
        return SharedUsage(self._memory, self._memory.view[start:], index, self._processes)

    def clear(self, index: int) -> None:
        """Forget what an API process that has died had in flight. Raises TimeoutError if another one hangs."""
        self.load(index).clear()
        usage = self.usage(index)
        with usage.exclusive(_LOCK_SECONDS):
            usage.clear()

    def close(self) -> None:
        """Close the descriptor."""
        self._memory.close()


def _size(processes: int) -> int:
    return shared_load.size_bytes(processes) + shared_usage.size_bytes(processes)
