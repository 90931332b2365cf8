"""Stored files: each key sees its own alone."""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ..errors import BodyTooLarge, Conflict, NotFound
from .batch_database import BatchDatabase
from .batch_records import UNFINISHED, StoredFile
from .data_folder import DataFolder
from .page import Page, select_page

_ORPHAN_SECONDS = 3600
"""Age at which an unfinished upload, or a content without a record, was left by a process that was killed."""


class FileStore:
    """The records of files and their contents."""

    def __init__(self, database: BatchDatabase, folder: DataFolder) -> None:
        self._database = database
        self.folder = folder

    async def check_room(self, owner: str, size: int, key_bytes: int | None) -> None:
        """Raise BodyTooLarge if a key's files would have more than `key_bytes` with one of `size` bytes."""
        if key_bytes is not None:
            await self._database.run(lambda connection: _check_room(connection, owner, size, key_bytes))

    async def add(self, file: StoredFile, content: Path, key_bytes: int | None = None) -> None:
        """Store a file, whose content is moved to its place. Raises OSError, sqlite3.Error, and as `check_room`."""

        def work(connection: sqlite3.Connection) -> None:
            if key_bytes is not None:
                _check_room(connection, file.owner, file.bytes, key_bytes)
            content.rename(self.folder.content(file.id))
            insert(connection, file)

        await self._database.run(work)

    async def get(self, owner: str, file_id: str) -> StoredFile:
        """Return a file. Raises NotFound if there is none, it has expired, or it is another key's."""
        return await self._database.run(lambda connection: find(connection, owner, file_id))

    async def page(
        self, owner: str, *, limit: int, after: str | None, ascending: bool, purpose: str | None
    ) -> Page[StoredFile]:
        """Return a page of a key's files, the newest first unless `ascending`. Raises NotFound for `after`."""
        condition, values = "expires_at > ?", [int(time.time())]
        if purpose is not None:
            condition, values = f"{condition} AND purpose = ?", [*values, purpose]  # type: ignore[list-item]
        return await self._database.run(
            lambda connection: select_page(
                connection, "files", _file, owner, limit, after, condition, values, ascending=ascending
            )
        )

    async def delete(self, owner: str, file_id: str) -> None:
        """Delete a file. Raises NotFound, and Conflict while an unfinished batch reads it."""

        def work(connection: sqlite3.Connection) -> None:
            find(connection, owner, file_id)
            if batch := _reader(connection, file_id):
                raise Conflict(f"The batch {batch} reads the file {file_id}.", "Cancel it, or wait until it is over.")
            connection.execute("DELETE FROM files WHERE id = ?", (file_id,))
            self.folder.content(file_id).unlink(missing_ok=True)

        await self._database.run(work)

    async def sweep(self) -> None:
        """Delete expired files, and contents that a killed process has left without a record."""

        def work(connection: sqlite3.Connection) -> None:
            old = connection.execute("SELECT id FROM files WHERE expires_at <= ?", (int(time.time()),)).fetchall()
            for (file_id,) in old:
                if _reader(connection, file_id) is None:
                    connection.execute("DELETE FROM files WHERE id = ?", (file_id,))
            kept = {each for (each,) in connection.execute("SELECT id FROM files")}
            for pair in connection.execute(f"SELECT output_id, error_id FROM batches WHERE status IN {_UNFINISHED}"):
                kept.update(pair)
            _remove_orphans(self.folder.files, kept)
            _remove_orphans(self.folder.uploads, set())

        await self._database.run(work)


_UNFINISHED = "('" + "', '".join(UNFINISHED) + "')"


def insert(connection: sqlite3.Connection, file: StoredFile) -> None:
    """Add the record of a file."""
    fields = msgspec.structs.asdict(file)
    names, marks = ", ".join(fields), ", ".join(f":{name}" for name in fields)
    connection.execute(f"INSERT INTO files ({names}) VALUES ({marks})", fields)


def _check_room(connection: sqlite3.Connection, owner: str, size: int, key_bytes: int) -> None:
    (used,) = connection.execute(
        "SELECT TOTAL(bytes) FROM files WHERE owner = ? AND expires_at > ?", (owner, int(time.time()))
    ).fetchone()
    if used + size > key_bytes:
        raise BodyTooLarge(
            f"The files of this API key have {used / 1e6:,.1f} MB: with this one they would exceed "
            f"{key_bytes // 10**6:,} MB, the limit of each key.",
            "Delete some, or wait until they expire.",
        )


def find(connection: sqlite3.Connection, owner: str, file_id: str) -> StoredFile:
    """Return a key's file. Raises NotFound."""
    row = connection.execute(
        "SELECT * FROM files WHERE id = ? AND owner = ? AND expires_at > ?", (file_id, owner, int(time.time()))
    ).fetchone()
    if row is None:
        raise no_file(file_id)
    return _file(row)


def no_file(file_id: str) -> NotFound:
    """The error for a file that does not exist, has expired, or is another key's: a client cannot tell which."""
    return NotFound(f"There is no file {file_id[:100]!r}.", "/v1/files lists those of this key.")


def _file(row: Any) -> StoredFile:  # noqa: ANN401
    return msgspec.convert({name: row[name] for name in StoredFile.__struct_fields__}, StoredFile)


def _reader(connection: sqlite3.Connection, file_id: str) -> str | None:
    """The unfinished batch whose input a file is."""
    row: Sequence[str] | None = connection.execute(
        f"SELECT id FROM batches WHERE input_file_id = ? AND status IN {_UNFINISHED}", (file_id,)
    ).fetchone()
    return None if row is None else row[0]


def _remove_orphans(folder: Path, kept: set[str]) -> None:
    """Remove all but `kept`. An upload that is about to get its record is younger."""
    for each in folder.iterdir():
        if each.name not in kept:
            with suppress(FileNotFoundError):
                if time.time() - each.stat().st_mtime > _ORPHAN_SECONDS:
                    each.unlink()
