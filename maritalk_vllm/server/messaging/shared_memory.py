"""Memory that several processes share, and a lock that the kernel releases when its holder dies."""

import contextlib
import fcntl
import mmap
import os
import time
from collections.abc import Iterator
from typing import Self

_POLL_SECONDS = 0.001


class SharedMemory:
    """Memory without a name, which exists as long as a process has it open. It is zero at first."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Map the memory with this descriptor, which stays open: closing it would release the lock."""
        self._descriptor = descriptor
        self.view = memoryview(mmap.mmap(descriptor, size))

    @classmethod
    def create(cls, size: int) -> Self:
        """Make new memory. Raises OSError."""
        descriptor = os.memfd_create("api-processes")
        try:
            os.ftruncate(descriptor, size)  # a page takes no memory before it is written
            return cls(descriptor, size)
        except OSError:
            os.close(descriptor)
            raise

    def fileno(self) -> int:
        """The descriptor, to be passed to another process."""
        return self._descriptor

    @contextlib.contextmanager
    def exclusive(self, timeout: float | None = None) -> Iterator[None]:
        """Hold the lock, which is not reentrant. Raises TimeoutError if another process holds it for `timeout` seconds.

        A record lock: it belongs to the process, unlike one of flock(2), which its copies of a descriptor share.
        """
        if timeout is None:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        else:
            self._wait_for_lock(timeout)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _wait_for_lock(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Close the descriptor. The memory stays mapped until this object is freed."""
        os.close(self._descriptor)
