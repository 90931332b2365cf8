"""The SQLite database of files and batches: its schema, its migrations, and the thread that uses it."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

_Result = TypeVar("_Result")

_MIGRATIONS = (
    """
    CREATE TABLE files (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        filename TEXT NOT NULL,
        purpose TEXT NOT NULL,
        bytes INTEGER NOT NULL
    );
    CREATE TABLE batches (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        owner TEXT NOT NULL,
        key_name TEXT NOT NULL,
        status TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        input_file_id TEXT NOT NULL,
        completion_window TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        output_id TEXT NOT NULL,
        error_id TEXT NOT NULL,
        output_seconds INTEGER,
        in_progress_at INTEGER,
        finalizing_at INTEGER,
        completed_at INTEGER,
        failed_at INTEGER,
        expired_at INTEGER,
        cancelling_at INTEGER,
        cancelled_at INTEGER,
        output_file_id TEXT,
        error_file_id TEXT,
        total INTEGER NOT NULL,
        completed INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        errors TEXT NOT NULL,
        metadata TEXT NOT NULL
    );
    CREATE INDEX files_of_owners ON files (owner, number);
    CREATE INDEX batches_of_owners ON batches (owner, number);
    CREATE INDEX batches_by_status ON batches (status);
    """,
)
"""The statements that lead from each version of the schema to the next. Never change one that was released."""

_BUSY_SECONDS = 10.0
"""How long to wait for another process of the server that writes."""


class NewerSchema(Exception):
    """A newer version of the server has migrated the database, from schema `known` to `version`."""

    def __init__(self, version: int, known: int) -> None:
        super().__init__(f"its schema is {version}, and this version of the server knows {known}")
        self.version = version
        self.known = known


def connect(file: Path) -> sqlite3.Connection:
    """Open the database, and create or migrate its schema. Raises sqlite3.Error and NewerSchema."""
    connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        # A commit is on the disk when it returns: a finished batch stays finished after a power failure.
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")  # another process may migrate at the same time
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(_MIGRATIONS):
        raise NewerSchema(version, len(_MIGRATIONS))
    for migration in _MIGRATIONS[version:]:
        for statement in filter(str.strip, migration.split(";")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")
    connection.execute("COMMIT")


class BatchDatabase:
    """The database on a thread of its own. Call `close` at the end."""

    def __init__(self, file: Path) -> None:
        """Open `file`. Raises what `connect` does."""
        self._connection = connect(file)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")

    async def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Return the result of `work`, which is one transaction. Raises what it raises, after a rollback."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(self._transact, work))

    def _transact(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return result

    def close(self) -> None:
        """Finish what runs, and close the database."""
        self._thread.shutdown()
        self._connection.close()
