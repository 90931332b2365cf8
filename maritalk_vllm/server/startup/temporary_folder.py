"""The temporary folder for the sockets of the server's processes."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from pathlib import Path

from ...errors import UsageError
from ...i18n.message import msg

_MAX_SOCKET_PATH = 107
"""Bytes in the path of a Unix socket (`sun_path`, less the terminating NUL)."""

_FOLDER_BYTES = len("/maritalk-12345678")
_SOCKET_BYTES = len("/01234567-89ab-cdef-0123-456789abcdef")
"""vLLM uses UUIDs as the names of its sockets."""

_FALLBACKS = ("/tmp", "/var/tmp", "/dev/shm")


class TemporaryFolder:
    """A private folder, which is created again if another program removes it."""

    def __init__(self) -> None:
        """Raise UsageError if none can be created."""
        self.path = _create()

    def problem(self, *, to_write: bool = True) -> str:
        """Create the folder again if it is missing. Return the system's error message, or an empty string.

        `to_write`: also check that a file can be created in it.
        """
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
        """True if no other user can access the folder: after /tmp is cleared, another user may take the name."""
        status = self.path.lstat()
        return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077

    def move(self) -> None:
        """Replace the folder with a new one. Raises UsageError if none can be created."""
        new = _create()
        self.close()
        self.path = new

    def close(self) -> None:
        """Remove the folder."""
        with contextlib.suppress(OSError):  # removed already, or by another program meanwhile
            if self._is_ours:
                shutil.rmtree(self.path)


def _create() -> Path:
    return Path(tempfile.mkdtemp(prefix="maritalk-", dir=temporary_parent()))


def temporary_parent() -> str:
    """Return TMPDIR, or a folder with a shorter path if sockets in TMPDIR would exceed the limit.

    Raises UsageError if none can be used.
    """
    try:
        default = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise UsageError(
            "No folder for temporary files can be written to.", "Set TMPDIR to one that can, or make room in /tmp."
        ) from error
    for folder in (default, *_FALLBACKS):
        if len(folder.encode()) + _FOLDER_BYTES + _SOCKET_BYTES <= _MAX_SOCKET_PATH and _is_writable(folder):
            return folder
    others = ", ".join(_FALLBACKS)
    raise UsageError(
        msg(
            "The sockets of a start would have too long names in {usual}, and {places} cannot be written to.",
            usual=default,
            places=others,
        ),
        "Set TMPDIR to a folder with a short path.",
    )


def check_temporary() -> None:
    """Raise UsageError if no folder can hold the sockets."""
    temporary_parent()


def _is_writable(folder: str) -> bool:
    try:
        Path(tempfile.mkdtemp(prefix=".maritalk-", dir=folder)).rmdir()
    except OSError:
        return False
    return True
