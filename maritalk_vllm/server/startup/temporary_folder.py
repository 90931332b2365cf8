"""Where a start keeps the sockets of its processes."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

from ...errors import UsageError

_LONGEST_SOCKET = 107
"""Bytes in the name of a Unix socket (`sun_path`, less its end)."""

_OURS = len("/maritalk-12345678")
_VLLMS = len("/01234567-89ab-cdef-0123-456789abcdef")
"""vLLM names its sockets by UUIDs."""

_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


class TemporaryFolder:
    """A folder of the server's own, which is made again when something else has removed it."""

    def __init__(self) -> None:
        """Raises UsageError where none can be made."""
        self.path = _made()

    def problem(self, *, to_write: bool = True) -> str:
        """Why it cannot be made again, or, `to_write`, nothing in it, in the system's words; else empty."""
        try:
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            if not self._is_ours:
                return os.strerror(errno.EEXIST)
            if to_write:
                Path(tempfile.mkdtemp(dir=self.path)).rmdir()
        except OSError as error:
            return str(error.strerror)
        return ""

    @property
    def _is_ours(self) -> bool:
        """Whether the name is that of a folder that no other user can look into: /tmp may have been cleared."""
        state = self.path.lstat()
        return stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid() and not state.st_mode & 0o077

    def move(self) -> None:
        """Have another. Raises UsageError where none can be made."""
        new = _made()
        self.close()
        self.path = new

    def close(self) -> None:
        """Leave nothing of ours behind."""
        with contextlib.suppress(OSError):
            if self._is_ours:
                shutil.rmtree(self.path)


def _made() -> Path:
    return Path(tempfile.mkdtemp(prefix="maritalk-", dir=temporary_parent()))


def temporary_parent() -> str:
    """TMPDIR, or another folder where a socket in it would have too long a name. Raises UsageError if there is none."""
    try:
        usual = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UsageError(
            "No folder for temporary files can be written to.", "Set TMPDIR to one that can, or make room in /tmp."
        ) from error
    for place in (usual, *_SHORT):
        if len(place.encode()) + _OURS + _VLLMS <= _LONGEST_SOCKET and _is_writable(place):
            return place
    raise UsageError(
        f"The sockets of a start would have too long names in {usual}, and {', '.join(_SHORT)} cannot be written to.",
        "Set TMPDIR to a folder with a short path.",
    )


def check_temporary() -> None:
    """Raises UsageError where a start would find no folder for its sockets."""
    temporary_parent()


def _is_writable(place: str) -> bool:
    try:
        Path(tempfile.mkdtemp(prefix=".maritalk-", dir=place)).rmdir()
    except OSError:
        return False
    return True
