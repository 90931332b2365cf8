"""The log: what all processes of a server write into one pipe, in a file of bounded size.

One thread of the supervisor reads the pipe and writes the file. So the file can be rotated, removed, or on a full disk,
and no process that writes into the pipe has to wait. Where the disk hangs, the pipe takes 1 MiB, and then writers wait.
"""

import contextlib
import errno
import fcntl
import logging
import os
import select
import stat
import threading
from pathlib import Path
from typing import Self

from pythonjsonlogger.json import JsonFormatter

from ...errors import UsageError
from ...settings import LogFormat

_PIPE_BYTES = 1 << 20
"""What waits while the disk is slow: the most that Linux allows to a user who is not root."""

_PIECE_BYTES = 1 << 16
_LOOK_SECONDS = 1.0
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""What a disk says that was in order before, and may be so again: no reason not to start."""


class LogFile:
    """A file of at most `max_bytes`, and `backups` older ones beside it: `log.1` is the latest of them."""

    def __init__(self, path: Path, form: LogFormat, max_bytes: int, backups: int) -> None:
        """The file of an earlier start becomes a backup. Raises UsageError where no file can be made."""
        self._misplaced = self._unwritten = ""
        self._path = path
        self._max_bytes, self._backups = max_bytes, backups
        self._file = -1
        self._lost = 0
        self._reopen = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                self._shift()
            self._open()
        except OSError as error:
            if error.errno not in _FULL:
                raise UsageError(
                    f"vLLM's log cannot be written to {path}: {error.strerror}.", "Choose --log-file."
                ) from error
            self._misplaced = str(error.strerror)
        self._pipe, self._end = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # What goes wrong in this process is written there as well: stdout is for people.
        self._stream = os.fdopen(os.dup(self._end), "w", encoding="utf-8", errors="backslashreplace")
        handler = logging.StreamHandler(self._stream)
        if form is LogFormat.JSON:
            handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"))
        else:  # as vLLM writes its lines
            form_of_vllm = "%(levelname)s %(asctime)s [%(filename)s:%(lineno)d] %(message)s"
            handler.setFormatter(logging.Formatter(form_of_vllm, "%m-%d %H:%M:%S"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what has come, once every other process has ended or is about to."""
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
        self._stream.close()
        os.close(self._end)
        if self._thread is None:
            self._follow(until_silent=True)
        else:
            self._thread.join(_LOOK_SECONDS * 2)

    @property
    def problem(self) -> str:
        """Why lines are lost, or go into a file that has lost its name, in the system's words; else empty."""
        return self._misplaced or self._unwritten

    def fileno(self) -> int:
        """Where processes write."""
        return self._end

    def begin(self) -> None:
        """Write from now on; what has come so far waits in the pipe. No process should be forked afterwards."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="log", daemon=True)
            self._thread.start()

    def limit(self, max_bytes: int, backups: int) -> None:
        """These limits hold from now on."""
        self._max_bytes, self._backups = max_bytes, backups

    def reopen(self) -> None:
        """Go on in the file that has the name now, and make it if there is none."""
        self._reopen.set()

    def _follow(self, *, until_silent: bool = False) -> None:
        """Until no process is left that could write; or until there is nothing to be read."""
        while True:
            ready, _, _ = select.select([self._pipe], [], [], 0 if until_silent else _LOOK_SECONDS)
            self._look()
            if ready:
                data = os.read(self._pipe, _PIECE_BYTES)
                if not data:
                    return
                self._take(data)
            elif until_silent:
                return

    def _look(self) -> None:
        """Open the file again if it is gone, another one has its name, or it could not be opened; report lost bytes."""
        if self._reopen.is_set() or self._file < 0 or not self._has_its_name():
            self._reopen.clear()
            try:
                self._open()
            except OSError as error:
                self._misplaced = str(error.strerror)
            else:
                self._misplaced = ""
        if self._lost and self._file >= 0:
            text = f"{self._lost} bytes of this log were lost: it could not be written.\n".encode()
            if len(text) <= self._room() or self._rotate():
                self._write(text, is_report=True)

    def _has_its_name(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        return False

    def _take(self, data: bytes) -> None:
        while data:
            room = self._room()
            # At the end of a line, unless one alone is too long for a file.
            whole = data.rfind(b"\n", 0, max(room, 0)) + 1
            cut = len(data) if len(data) <= room else whole or (room if room >= self._max_bytes else 0)
            if cut:
                self._write(data[:cut])
                data = data[cut:]
            if data and not self._rotate():
                self._lost += len(data)
                return

    def _room(self) -> int:
        """Bytes that the file may still take. What is no file, such as a terminal, takes anything."""
        if self._file < 0:
            return self._max_bytes
        state = os.fstat(self._file)
        return self._max_bytes - state.st_size if stat.S_ISREG(state.st_mode) else 1 << 62

    def _write(self, data: bytes, *, is_report: bool = False) -> None:
        while data:
            try:
                data = data[os.write(self._file, data) :]
            except OSError as error:
                self._unwritten = str(error.strerror)
                self._lost += 0 if is_report else len(data)
                return
        self._unwritten = ""
        if is_report:
            self._lost = 0

    def _rotate(self) -> bool:
        """Whether there is room again. The bound holds also where names cannot be changed."""
        try:
            if self._has_its_name():  # else it is a backup already, and no new file could be opened
                self._shift()
            self._open()
        except OSError as error:
            self._misplaced = str(error.strerror)
            if not self._has_its_name():
                return False
            try:
                os.ftruncate(self._file, 0)
            except OSError:
                return False
        else:
            self._misplaced = ""
        return True

    def _shift(self) -> None:
        """`log` becomes `log.1`, that `log.2`, and the last of them goes."""
        beyond = self._backups + 1
        while (old := self._backup(beyond)).exists():
            old.unlink()
            beyond += 1
        if not self._backups:
            self._path.unlink()
            return
        for number in range(self._backups - 1, -1, -1):
            with contextlib.suppress(FileNotFoundError):
                self._backup(number).replace(self._backup(number + 1))

    def _backup(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _open(self) -> None:
        """The file that has the name now, for its owner alone. Raises OSError, and leaves what was open."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # O_APPEND: if another program cuts the file, it goes on from there. A full disk says so at the next line.
        new = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file = new
