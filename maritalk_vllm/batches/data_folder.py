"""The folder of files and batches (`--data-dir`), and the locks that make it one server's, and one worker's."""

import fcntl
import os
import sqlite3
import uuid
from pathlib import Path

from ..errors import UsageError
from ..i18n.message import msg
from . import batch_database


class FolderLock:
    """A lock on a file, which the kernel releases when the process ends. It is not inherited by forked processes."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> bool:
        """Take the lock; False if another process has it. Raises OSError."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self) -> None:
        """Release the lock, if it is held, for good."""
        os.close(self._descriptor)


class DataFolder:
    """The paths in the folder. `files` has a file for each id, `uploads` those that are not complete yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = path / "files"
        self.uploads = path / "uploads"
        self.database = path / "batches.sqlite"

    def prepare(self) -> None:
        """Make the folders, for the server's user alone. Raises OSError."""
        for each in (self.path, self.files, self.uploads):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    def reserve(self) -> FolderLock:
        """Make the folder this server's until the lock is released, and create or migrate its database.

        Raises UsageError if another server has it, or if it cannot be used.
        """
        try:
            self.prepare()
            lock = FolderLock(self.path / "server.lock")
            is_ours = lock.acquire()
        except OSError as error:
            raise UsageError(
                msg("{place} cannot be written to: {reason}.", place=self.path, reason=error.strerror),
                "Choose another folder with --data-dir.",
            ) from error
        if not is_ours:
            lock.release()
            raise UsageError(
                msg("Another server keeps its files and batches in {folder}.", folder=self.path),
                "Give each server a folder of its own with --data-dir.",
            )
        try:
            self._check_database()
        except UsageError:
            lock.release()
            raise
        return lock

    def _check_database(self) -> None:
        try:
            batch_database.connect(self.database).close()
        except batch_database.NewerSchema as error:
            raise UsageError(
                msg(
                    "The database of batches, {file}, has schema {version}, and this version of the server knows "
                    "{known}.",
                    file=self.database,
                    version=error.version,
                    known=error.known,
                ),
                "Start the newer version, or choose another folder with --data-dir.",
            ) from error
        except sqlite3.Error as error:
            raise UsageError(
                msg("The database of batches, {file}, cannot be used: {reason}.", file=self.database, reason=error),
                "Restore it from a backup, or choose another folder with --data-dir.",
            ) from error

    def worker_lock(self) -> FolderLock:
        """The lock of the process that computes batches: one of a server's API processes. Raises OSError."""
        return FolderLock(self.path / "worker.lock")

    def content(self, file_id: str) -> Path:
        """The content of a file. `file_id` is one that the database returned."""
        return self.files / file_id


def new_id(kind: str) -> str:
    """A new id, such as `file-` and 32 digits, which the clients of other keys cannot guess."""
    return f"{kind}{uuid.uuid4().hex}"
