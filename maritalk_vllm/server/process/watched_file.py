"""Files that are reloaded when they change. The last valid content stays in use until there is new valid content."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from ...errors import UsageError

T = TypeVar("T")

_Fingerprint = tuple[tuple[int, int, int] | None, ...]


class WatchedFile(Generic[T]):
    """The content of one or more files, parsed to one value."""

    def __init__(self, files: Sequence[Path], read: Callable[[], T], initial: T) -> None:
        """`read` raises UsageError for files that cannot be used; `initial` is what it returned last."""
        self._files = files
        self._read = read
        self.value = initial
        self.problem = ""
        """A sentence that explains why the files cannot be used now; empty if they can."""
        self._last_seen: _Fingerprint | None = None
        self._last_read: _Fingerprint | None = None

    def poll(self, *, at_once: bool = False) -> bool:
        """Read the files if they have changed. Returns whether the value has changed.

        A change counts when two polls have found the same, since a program may still be writing; with `at_once`, the
        files are read as they are now.
        """
        # Before reading, so that a change during the read is detected by the next poll.
        fingerprint = tuple(map(_fingerprint, self._files))
        settled, self._last_seen = fingerprint == self._last_seen, fingerprint
        if not at_once and (fingerprint == self._last_read or not settled):
            if fingerprint == self._last_read:
                self.problem = ""
            return False
        try:
            value = self._read()
        except UsageError as error:
            # Read again at each poll: granted permissions do not change the fingerprint.
            self.problem = str(error.message)
            return False
        self.problem = ""
        self._last_read = fingerprint
        changed, self.value = value != self.value, value
        return changed


def _fingerprint(file: Path) -> tuple[int, int, int] | None:
    """Modification time, size and inode number, which differs after a file was replaced. None if it cannot be read."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
