"""Stored batches and their states. Each change is one transaction, and only leads from a state that it may follow."""

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from ..errors import Conflict, NotFound, RequestError
from . import file_store
from .batch_database import BatchDatabase
from .batch_records import INPUT_PURPOSES, UNFINISHED, Batch, BatchStatus, LineError, StoredFile
from .page import Page, select_page

_TIMES: dict[BatchStatus, str] = {
    status: f"{status.value}_at" for status in BatchStatus if status is not BatchStatus.VALIDATING
}
"""The field that says when a batch got into a state."""

_JSON = ("errors", "metadata")


class BatchStore:
    """The records of batches."""

    def __init__(self, database: BatchDatabase) -> None:
        self._database = database

    async def create(self, batch: Batch) -> None:
        """Store a new batch. Raises NotFound or RequestError for an input file that it cannot have."""

        def work(connection: sqlite3.Connection) -> None:
            file = file_store.find(connection, batch.owner, batch.input_file_id)
            if file.purpose not in INPUT_PURPOSES:
                raise RequestError(
                    f"input_file_id: the purpose of the file {file.id} is {file.purpose.value}.",
                    "Upload the lines with the purpose batch.",
                )
            fields = _fields(batch)
            names, marks = ", ".join(fields), ", ".join(f":{name}" for name in fields)
            connection.execute(f"INSERT INTO batches ({names}) VALUES ({marks})", fields)

        await self._database.run(work)

    async def get(self, owner: str, batch_id: str) -> Batch:
        """Return a batch. Raises NotFound if there is none, or it is another key's."""
        return await self._database.run(lambda connection: _find(connection, owner, batch_id))

    async def page(self, owner: str, limit: int, after: str | None) -> Page[Batch]:
        """Return a page of a key's batches, the newest first. Raises NotFound for `after`."""
        return await self._database.run(
            lambda connection: select_page(connection, "batches", _batch, owner, limit, after)
        )

    async def cancel(self, owner: str, batch_id: str) -> Batch:
        """Cancel a batch, and return it. Raises NotFound, and Conflict if it has ended or is ending."""

        def work(connection: sqlite3.Connection) -> Batch:
            batch = _find(connection, owner, batch_id)
            if batch.status in (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS):
                _advance(connection, batch_id, BatchStatus.CANCELLING)
            elif batch.status is not BatchStatus.CANCELLING:
                raise Conflict(f"The batch {batch_id} is {batch.status.value}, and cannot be cancelled.")
            return _find(connection, owner, batch_id)

        return await self._database.run(work)

    async def unfinished(self) -> list[Batch]:
        """All keys' batches that are not over, the oldest first."""
        marks = ", ".join("?" for _ in UNFINISHED)
        return await self._database.run(
            lambda connection: [
                _batch(row)
                for row in connection.execute(
                    f"SELECT * FROM batches WHERE status IN ({marks}) ORDER BY number", UNFINISHED
                )
            ]
        )

    async def begin(self, batch_id: str, total: int) -> None:
        """The input file is valid, and has `total` lines. No effect on a batch that is being cancelled."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE batches SET total = ? WHERE id = ?", (total, batch_id))
            _advance(connection, batch_id, BatchStatus.IN_PROGRESS, BatchStatus.VALIDATING)

        await self._database.run(work)

    async def fail(self, batch_id: str, errors: Sequence[LineError]) -> None:
        """The input file is not valid. No effect on a batch that is being cancelled."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE batches SET errors = ? WHERE id = ?", (msgspec.json.encode(errors).decode(), batch_id)
            )
            _advance(connection, batch_id, BatchStatus.FAILED, BatchStatus.VALIDATING)

        await self._database.run(work)

    async def count(self, batch_id: str, completed: int, failed: int) -> None:
        """Record how many lines are done. The journals say it exactly; this is what clients see."""
        await self._database.run(
            lambda connection: connection.execute(
                "UPDATE batches SET completed = ?, failed = ? WHERE id = ?", (completed, failed, batch_id)
            )
        )

    async def finalize(self, batch_id: str) -> None:
        """Stop computing lines of a batch in progress. No effect on one that is being cancelled."""
        await self._database.run(
            lambda connection: _advance(connection, batch_id, BatchStatus.FINALIZING, BatchStatus.IN_PROGRESS)
        )

    async def finish(
        self,
        batch_id: str,
        status: BatchStatus,
        counts: tuple[int, int],
        output: StoredFile | None,
        errors: StoredFile | None,
    ) -> None:
        """End a batch, with its files, in one transaction. `counts`: of completed and failed lines.

        A batch that is being cancelled gets cancelled, regardless of `status`.
        """

        def work(connection: sqlite3.Connection) -> None:
            for each in filter(None, (output, errors)):
                file_store.insert(connection, each)
            connection.execute(
                "UPDATE batches SET output_file_id = ?, error_file_id = ?, completed = ?, failed = ? WHERE id = ?",
                (output and output.id, errors and errors.id, *counts, batch_id),
            )
            _advance(connection, batch_id, BatchStatus.CANCELLED, BatchStatus.CANCELLING)
            _advance(connection, batch_id, status)

        await self._database.run(work)

    async def sweep(self, created_before: int) -> None:
        """Delete the batches that have ended and were created before this time."""
        marks = ", ".join("?" for _ in UNFINISHED)
        await self._database.run(
            lambda connection: connection.execute(
                f"DELETE FROM batches WHERE created_at < ? AND status NOT IN ({marks})", (created_before, *UNFINISHED)
            )
        )


def _advance(connection: sqlite3.Connection, batch_id: str, to: BatchStatus, *origins: BatchStatus) -> None:
    """Bring a batch into a state, from one of `origins`, or from any in which it is not over."""
    marks = ", ".join("?" for _ in origins or UNFINISHED)
    connection.execute(
        f"UPDATE batches SET status = ?, {_TIMES[to]} = ? WHERE id = ? AND status IN ({marks})",
        (to, int(time.time()), batch_id, *(origins or UNFINISHED)),
    )


def _find(connection: sqlite3.Connection, owner: str, batch_id: str) -> Batch:
    row = connection.execute("SELECT * FROM batches WHERE id = ? AND owner = ?", (batch_id, owner)).fetchone()
    if row is None:
        raise NotFound(f"There is no batch {batch_id[:100]!r}.", "/v1/batches lists those of this key.")
    return _batch(row)


def _fields(batch: Batch) -> dict[str, Any]:
    fields = msgspec.structs.asdict(batch)
    return fields | {name: msgspec.json.encode(fields[name]).decode() for name in _JSON}


def _batch(row: Any) -> Batch:  # noqa: ANN401
    fields = {name: row[name] for name in Batch.__struct_fields__}
    fields |= {name: msgspec.json.decode(fields[name]) for name in _JSON}
    return msgspec.convert(fields, Batch)
