"""The service's SQLite database, safe for several processes and many threads."""

import os
import secrets
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from ...errors import Unavailable, UsageError
from ...i18n.message import msg

_VERSION = 1
_BUSY_SECONDS = 30
"""How long a process waits while another one writes."""

# Times are ISO 8601 in UTC. Of a key only its digest is stored, and its first group as a hint for people.
_SCHEMA = f"""
BEGIN;
CREATE TABLE service (secret BLOB NOT NULL);
CREATE TABLE keys (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, hint TEXT NOT NULL, models TEXT NOT NULL,
    licensee TEXT NOT NULL, expires TEXT, revoked TEXT
);
CREATE TABLE archives (
    model TEXT PRIMARY KEY, path BLOB NOT NULL, size INTEGER NOT NULL, modified INTEGER NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY, time TEXT NOT NULL, event TEXT NOT NULL, key INTEGER, model TEXT NOT NULL,
    client TEXT NOT NULL, detail TEXT NOT NULL
);
PRAGMA user_version = {_VERSION};
COMMIT;
"""


class Database:
    """One connection, shared by this process's threads. The file is created if missing, for its owner only."""

    def __init__(self, file: Path) -> None:
        """Open or create the database. Raises UsageError if the file is something else or cannot be written."""
        try:
            if not file.exists():
                _create(file)
            self._connection = _connect(file)
            try:
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            except sqlite3.Error:
                self._connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(
                msg("The database {file} cannot be used: {reason}.", file=file, reason=reason),
                "Choose another --database.",
            ) from error
        if version != _VERSION:
            self._connection.close()
            raise UsageError(
                msg("{file} is no licence database of this version.", file=file), "Choose another --database."
            )
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def read(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one query, including those committed by other processes. Raises Unavailable."""
        with self._locked() as connection:
            return connection.execute(query, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A write transaction. Raises Unavailable."""
        # The connection's own context manager commits, and rolls back on any error, also of the commit.
        with self._locked() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._connection
        except sqlite3.Error as error:
            raise Unavailable(msg("The licence database cannot be used: {error}.", error=error)) from error


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _create(file: Path) -> None:
    """Create the database under a temporary name and link it into place, since other processes may do the same."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp sets mode 0600, and SQLite gives the same mode to its WAL files.
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    os.close(descriptor)
    try:
        with closing(_connect(Path(temporary))) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO service VALUES (?)", (secrets.token_bytes(32),))
        with suppress(FileExistsError):  # another process was first
            os.link(temporary, file)
    finally:
        Path(temporary).unlink()
