"""The audit log: one row for each response, rejected request and download, and for each change by the operator."""

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .database import Database


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `key` is a key's id, `client` an address; unknown values are empty."""

    event: str
    key: int | None = None
    model: str = ""
    client: str = ""
    detail: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


def record(connection: sqlite3.Connection, entry: Entry) -> None:
    """Write a row within the current transaction."""
    connection.execute(
        "INSERT INTO audit (time, event, key, model, client, detail) VALUES (?, ?, ?, ?, ?, ?)",
        (
            entry.time.isoformat(timespec="milliseconds"),
            entry.event,
            entry.key,
            entry.model,
            entry.client,
            entry.detail,
        ),
    )


def last(database: Database, number: int) -> list[Entry]:
    """The latest `number` rows, in chronological order."""
    rows = database.read("SELECT event, key, model, client, detail, time FROM audit ORDER BY id DESC LIMIT ?", number)
    return [
        Entry(event, key, model, client, detail, datetime.fromisoformat(time))
        for event, key, model, client, detail, time in reversed(rows)
    ]
