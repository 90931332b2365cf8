"""The usage of the API keys in memory that several API processes share.

A fixed share of a limit for each process would be wrong, since a client's connections are spread unevenly, and asking
the supervisor would delay each request. So each process reads and changes the same records, for a few microseconds
under a lock. What requests in flight reserve is kept for each process, and is forgotten when that process dies.
"""

import math
import time
from collections.abc import Iterator

from ...errors import TooManyRequests
from ..messaging.shared_memory import SharedMemory
from .usage_window import Kind

CAPACITY = 16_384
"""Keys with usage at one time."""

_WINDOW_SECONDS = 60.0
_WORD = 8
# Words of the header: the limits that the windows are counted by.
_LIMITS: dict[Kind, int] = {"requests": 0, "tokens": 1, "batch_tokens": 2}
_HEADER = 8
# Words of a record: the digest of the key; start and charged amount of each window; then, for each process:
_DIGEST = 4
_WINDOWS: dict[Kind, int] = {"requests": 4, "tokens": 6, "batch_tokens": 8}
_SHARED = 10
# Words of a process: answers in progress, and the amount reserved in each window.
_ANSWERS = 0
_RESERVED: dict[Kind, int] = {"requests": 1, "tokens": 2, "batch_tokens": 3}
_OWN = 4
_UNUSED = bytes(_DIGEST * _WORD)


def size_bytes(processes: int) -> int:
    """Size of the memory for a number of API processes."""
    return _WORD * (_HEADER + CAPACITY * _record_words(processes))


def _record_words(processes: int) -> int:
    return _SHARED + _OWN * processes


class SharedUsage:
    """The records of all keys, as the API process `index` of `processes` sees them; to be used under `exclusive`."""

    def __init__(self, memory: SharedMemory, view: memoryview, index: int, processes: int) -> None:
        """`view`: the part of `memory` that has the records, `size_bytes(processes)` long."""
        self.exclusive = memory.exclusive
        self.integers = view.cast("q")
        self.floats = view.cast("d")
        self._bytes = view
        self._record_words = _record_words(processes)
        self._processes = range(_SHARED, self._record_words, _OWN)
        self._own = _SHARED + index * _OWN
        self.answers = SharedAnswers(self)

    def windows(self, kind: Kind) -> "SharedWindows":
        """The windows of all keys, of one kind."""
        return SharedWindows(self, kind)

    def clear(self) -> None:
        """Forget what the process with this index has reserved."""
        for record in self.records():
            start = record + self._own
            for word in range(start, start + _OWN):
                self.integers[word] = 0

    def records(self) -> Iterator[int]:
        """The first word of each record that is in use."""
        for number in range(CAPACITY):
            record = _HEADER + number * self._record_words
            if self._digest(record) != _UNUSED:
                yield record

    def record_of(self, key: str) -> int:
        """The first word of a key's record, which may be new. Raises TooManyRequests if there are CAPACITY others."""
        digest = bytes.fromhex(key)
        first = int.from_bytes(digest[:_WORD]) % CAPACITY
        free: int | None = None
        for step in range(CAPACITY):
            record = _HEADER + (first + step) % CAPACITY * self._record_words
            found = self._digest(record)
            if found == digest:
                return record
            if found == _UNUSED:
                return self._begin(record if free is None else free, digest)
            if free is None and self._is_idle(record):
                free = record
        if free is None:
            raise TooManyRequests(f"Over {CAPACITY} API keys are in use at once.", "Wait a minute.", 60)
        return self._begin(free, digest)

    def total(self, record: int, word: int) -> int:
        """The sum over all processes of one of their words."""
        return sum(self.integers[record + process + word] for process in self._processes)

    def add(self, record: int, word: int, amount: int) -> None:
        """Add to a word of this process."""
        self.integers[record + self._own + word] += amount

    def _digest(self, record: int) -> bytes:
        return bytes(self._bytes[record * _WORD : (record + _DIGEST) * _WORD])

    def _begin(self, record: int, digest: bytes) -> int:
        self._bytes[record * _WORD : (record + self._record_words) * _WORD] = bytes(self._record_words * _WORD)
        self._bytes[record * _WORD : (record + _DIGEST) * _WORD] = digest
        return record

    def _is_idle(self, record: int) -> bool:
        """Whether a key has no requests in flight, and its windows and their carried-over usage have expired."""
        now = time.monotonic()
        for kind, word in _WINDOWS.items():
            limit, charged = self.integers[_LIMITS[kind]], self.integers[record + word + 1]
            minutes = max(1, math.ceil(charged / limit)) if limit else 1
            if now - self.floats[record + word] < minutes * _WINDOW_SECONDS:
                return False
        own = range(record + _SHARED, record + self._record_words)
        return not any(self.integers[word] for word in own)


class SharedAnswers:
    """The answers in progress of each key, over all processes. Changes are those of this process."""

    def __init__(self, usage: SharedUsage) -> None:
        self._usage = usage

    def __getitem__(self, key: str) -> int:
        return self._usage.total(self._usage.record_of(key), _ANSWERS)

    def __setitem__(self, key: str, total: int) -> None:
        record = self._usage.record_of(key)
        self._usage.add(record, _ANSWERS, total - self._usage.total(record, _ANSWERS))

    def __delitem__(self, key: str) -> None:
        """Keep the record: it is reused once it is idle."""


class SharedWindows:
    """LocalWindows of usage_window, shared by all processes."""

    def __init__(self, usage: SharedUsage, kind: Kind) -> None:
        self._usage = usage
        self._kind = kind

    @property
    def limit(self) -> int:
        """The limit that the windows were counted by last, for all processes; 0 if there was none yet."""
        return self._usage.integers[_LIMITS[self._kind]]

    @limit.setter
    def limit(self, limit: int) -> None:
        self._usage.integers[_LIMITS[self._kind]] = limit

    def of(self, key: str, now: float) -> "SharedWindow":
        """The window of a key, which begins `now` if there is none."""
        return self._window(self._usage.record_of(key), now)

    def all(self, now: float) -> "Iterator[SharedWindow]":
        """All windows."""
        return (self._window(record, now) for record in self._usage.records())

    def _window(self, record: int, now: float) -> "SharedWindow":
        window = SharedWindow(self._usage, record, self._kind)
        if not window.started_at:
            window.started_at = now
        return window


class SharedWindow:
    """One key's window."""

    def __init__(self, usage: SharedUsage, record: int, kind: Kind) -> None:
        self._usage = usage
        self._record = record
        self._word = record + _WINDOWS[kind]
        self._reserved = _RESERVED[kind]

    @property
    def started_at(self) -> float:
        """When it began, on the monotonic clock, which is the same in all processes."""
        return self._usage.floats[self._word]

    @started_at.setter
    def started_at(self, moment: float) -> None:
        self._usage.floats[self._word] = moment

    @property
    def charged(self) -> int:
        """The amount that was used."""
        return self._usage.integers[self._word + 1]

    @charged.setter
    def charged(self, amount: int) -> None:
        self._usage.integers[self._word + 1] = amount

    @property
    def reserved(self) -> int:
        """The amount that requests in flight reserve, in all processes."""
        return self._usage.total(self._record, self._reserved)

    @reserved.setter
    def reserved(self, total: int) -> None:
        self._usage.add(self._record, self._reserved, total - self.reserved)
