"""The service's database: one SQLite file, for several processes and many threads at once."""

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

_VERSION = 1
_BUSY_SECONDS = 30
"""So long does one process wait while another writes."""

# Times are ISO 8601 in UTC. Of a key only its digest is kept, and its first group, by which people know it again.
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
    """One connection, which the threads of this process share; made at its first use, for its owner alone."""

    def __init__(self, file: Path) -> None:
        """Raises UsageError if there is something else, or nothing can be written there."""
        try:
            if not file.exists():
                _make(file)
            self._connection = _connect(file)
            try:
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            except sqlite3.Error:
                self._connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UsageError(f"The database {file} cannot be used: {reason}.", "Choose another --database.") from error
        if version != _VERSION:
            self._connection.close()
            raise UsageError(f"{file} is no licence database of this version.", "Choose another --database.")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def read(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """The rows of one query, as they are now, whichever process wrote them. Raises Unavailable."""
        with self._alone() as connection:
            return connection.execute(query, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing is written. Raises Unavailable."""
        # The connection's own context commits, and rolls back whatever goes wrong, the commit too.
        with self._alone() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock:
                yield self._connection
        except sqlite3.Error as error:
            raise Unavailable(f"The licence database cannot be used: {error}.") from error


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _make(file: Path) -> None:
    """Whole when it gets its name, which another process may be about to open, or to give to its own."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp makes it 0600, and SQLite gives the same mode to the files that it lays beside it.
    descriptor, aside = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    os.close(descriptor)
    try:
        with closing(_connect(Path(aside))) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO service VALUES (?)", (secrets.token_bytes(32),))
        with suppress(FileExistsError):
            os.link(aside, file)
    finally:
        Path(aside).unlink()
