"""The log file: all processes of a server write into one pipe, which is copied to a file of bounded size.

A thread of the supervisor reads the pipe and writes the file. So the file can be rotated or removed, or its disk be
full, without blocking the processes that write. If the disk hangs, the pipe buffers 1 MiB before writers block.
"""

import contextlib
import errno
import fcntl
import logging
import os
import select
import stat
import threading
import time
from pathlib import Path
from typing import Self

from pythonjsonlogger.json import JsonFormatter

from ...errors import UsageError
from ...i18n.message import msg
from ...settings import LogFormat
from .json_lines import JsonLines

_PIPE_BYTES = 1 << 20
"""The pipe's buffer for a slow disk: the maximum that Linux allows without root."""

_READ_BYTES = 1 << 16
_COLLECT_SECONDS = 0.02
"""Pause after a read, so that each line of a busy server does not wake the thread, which would interrupt its writer."""

_CHECK_SECONDS = 1.0
_CLOSE_SECONDS = 2.0
"""How long the end waits for what is left in the pipe to be written: the disk may hang."""

_TEMPORARY_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""Errors of a disk that may work again later: they do not prevent a start."""


class LogFile:
    """A log file of at most `max_bytes`, with `backups` older files, of which `log.1` is the latest."""

    def __init__(self, path: Path, form: LogFormat, max_bytes: int, backups: int) -> None:
        """Open the file; one of an earlier start becomes a backup. Raises UsageError if no file can be created."""
        self._open_error = self._write_error = ""
        self._path = path
        self._max_bytes, self._backups = max_bytes, backups
        self._json = JsonLines() if form is LogFormat.JSON else None
        self._file = -1
        self._lost_bytes = 0
        self._reopen = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                self._rename_backups()
            self._open()
        except OSError as error:
            if error.errno not in _TEMPORARY_ERRORS:
                raise UsageError(
                    msg("vLLM's log cannot be written to {path}: {reason}.", path=path, reason=error.strerror),
                    "Choose --log-file.",
                ) from error
            self._open_error = str(error.strerror)
        self._read_end, self._write_end = os.pipe()
        with contextlib.suppress(OSError):  # over the user's limit for pipes: the default size is smaller
            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        # This process logs to the pipe as well: stdout is for the user.
        self._stream = os.fdopen(os.dup(self._write_end), "w", encoding="utf-8", errors="backslashreplace")
        handler = logging.StreamHandler(self._stream)
        if form is LogFormat.JSON:
            handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(process)d %(message)s"))
        else:
            vllm_format = "%(levelname)s %(asctime)s [%(filename)s:%(lineno)d] %(message)s"
            handler.setFormatter(logging.Formatter(vllm_format, "%m-%d %H:%M:%S"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left in the pipe, once all other processes have exited or are about to."""
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
        self._stream.close()
        os.close(self._write_end)
        if self._thread is None:
            self._copy(until_empty=True)
        else:
            self._thread.join(_CLOSE_SECONDS)

    @property
    def problem(self) -> str:
        """The system's error message if lines are lost or go to a file that was renamed; otherwise empty."""
        return self._open_error or self._write_error

    def fileno(self) -> int:
        """The descriptor that processes write to."""
        return self._write_end

    def start(self) -> None:
        """Start the writer thread; until then, the pipe buffers."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._copy, name="log", daemon=True)
            self._thread.start()

    def set_limits(self, max_bytes: int, backups: int) -> None:
        """Change the limits."""
        self._max_bytes, self._backups = max_bytes, backups

    def reopen(self) -> None:
        """Continue in the file that has the path now; create it if it is missing."""
        self._reopen.set()

    def _copy(self, *, until_empty: bool = False) -> None:
        """Copy the pipe to the file until no process is left that could write, or `until_empty`."""
        while True:
            ready, _, _ = select.select([self._read_end], [], [], 0 if until_empty else _CHECK_SECONDS)
            self._check_file()
            if ready:
                data = os.read(self._read_end, _READ_BYTES)
                if not data:
                    self._end_line()
                    return
                self._append(data if self._json is None else self._json.convert(data))
                if len(data) < _READ_BYTES and not until_empty:
                    time.sleep(_COLLECT_SECONDS)
            elif until_empty:
                self._end_line()
                return

    def _end_line(self) -> None:
        if self._json is not None:
            self._append(self._json.end())

    def _check_file(self) -> None:
        """Reopen the file if it is missing, was replaced or could not be opened; write how many bytes were lost."""
        if self._reopen.is_set() or self._file < 0 or not self._is_current():
            self._reopen.clear()
            try:
                self._open()
            except OSError as error:
                self._open_error = str(error.strerror)
            else:
                self._open_error = ""
        if self._lost_bytes and self._file >= 0:
            text = f"{self._lost_bytes} bytes of this log were lost: it could not be written.\n".encode()
            text = text if self._json is None else JsonLines().convert(text)
            if len(text) <= self._free_bytes() or self._rotate():
                self._write(text, is_report=True)

    def _is_current(self) -> bool:
        with contextlib.suppress(OSError):  # the path has no file any more, or cannot be read
            return os.path.samestat(os.fstat(self._file), self._path.stat())
        return False

    def _append(self, data: bytes) -> None:
        while data:
            free = self._free_bytes()
            # Cut at the end of a line, unless a single line is too long for a file.
            whole = data.rfind(b"\n", 0, max(free, 0)) + 1
            cut = len(data) if len(data) <= free else whole or (free if free >= self._max_bytes else 0)
            if cut:
                self._write(data[:cut])
                data = data[cut:]
            if data and not self._rotate():
                self._lost_bytes += len(data)
                return

    def _free_bytes(self) -> int:
        """Bytes that fit into the file; unlimited if it is no regular file, such as a terminal."""
        if self._file < 0:
            return self._max_bytes
        state = os.fstat(self._file)
        return self._max_bytes - state.st_size if stat.S_ISREG(state.st_mode) else 1 << 62

    def _write(self, data: bytes, *, is_report: bool = False) -> None:
        while data:
            try:
                data = data[os.write(self._file, data) :]
            except OSError as error:
                self._write_error = str(error.strerror)
                self._lost_bytes += 0 if is_report else len(data)
                return
        self._write_error = ""
        if is_report:
            self._lost_bytes = 0

    def _rotate(self) -> bool:
        """Start a new file, or truncate it if it cannot be renamed, to keep the limit. False if neither is possible."""
        try:
            if self._is_current():  # otherwise it is a backup already, and no new file could be opened
                self._rename_backups()
            self._open()
        except OSError as error:
            self._open_error = str(error.strerror)
            if not self._is_current():
                return False
            try:
                os.ftruncate(self._file, 0)
            except OSError:
                return False
        else:
            self._open_error = ""
        return True

    def _rename_backups(self) -> None:
        """Rename `log` to `log.1`, `log.1` to `log.2` and so on; remove the oldest."""
        beyond = self._backups + 1
        while (old := self._backup_path(beyond)).exists():
            old.unlink()
            beyond += 1
        if not self._backups:
            self._path.unlink()
            return
        for number in range(self._backups - 1, -1, -1):
            with contextlib.suppress(FileNotFoundError):  # fewer backups than allowed, so far
                self._backup_path(number).replace(self._backup_path(number + 1))

    def _backup_path(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _open(self) -> None:
        """Open or create the file with mode 0600. Raises OSError, and keeps the file that was open before."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # O_APPEND: continue at the end if another program truncates the file. On a full disk, the next write fails.
        new = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file = new
