"""Files that are read again when they change: what was good last stays until there is something good again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from ...errors import UsageError

T = TypeVar("T")

_Sign = tuple[tuple[int, int, int] | None, ...]


class WatchedFile(Generic[T]):
    """What some files hold together, as one value."""

    def __init__(self, files: Sequence[Path], read: Callable[[], T], good: T) -> None:
        """`read` raises UsageError for files that cannot be used; `good`: what it gave last."""
        self._files = files
        self._read = read
        self.value = good
        self.trouble = ""
        """Why the files cannot be used now, in a sentence; empty if they can."""
        self._seen: _Sign | None = None
        self._taken: _Sign | None = None

    def look(self, *, at_once: bool = False) -> bool:
        """Whether another value was taken over.

        Files count as changed when they have been the same at two looks, since a program may be in the midst of writing
        them; with `at_once` as they are now.
        """
        # First, so that a change while they are read is one.
        sign = tuple(map(_fingerprint, self._files))
        settled, self._seen = sign == self._seen, sign
        if not at_once and (sign == self._taken or not settled):
            if sign == self._taken:
                self.trouble = ""
            return False
        try:
            value = self._read()
        except UsageError as error:
            # Read again at each look: a permission that is given leaves no sign of a change.
            self.trouble = str(error.message)
            return False
        self.trouble = ""
        self._taken = sign
        changed, self.value = value != self.value, value
        return changed


def _fingerprint(file: Path) -> tuple[int, int, int] | None:
    """What differs after a change: a file that is replaced has another number."""
    try:
        now = file.stat()
    except OSError:
        return None
    return now.st_mtime_ns, now.st_size, now.st_ino
