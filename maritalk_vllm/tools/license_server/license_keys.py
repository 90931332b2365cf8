"""Licence keys: created, found by their digest, and revoked."""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...i18n.message import msg
from . import audit_log
from .database import Database
from .service_errors import Forbidden

# Without characters that look alike: I, L and 1, O and 0.
_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
_GROUPS, _GROUP = 4, 5


@dataclass(frozen=True, slots=True)
class Key:
    """The stored data of a key. `models` are the allowed ones, the default first; `expires` None means never."""

    id: int
    hint: str
    models: tuple[str, ...]
    licensee: str
    expires: datetime | None
    revoked: datetime | None

    def state(self, now: datetime) -> str:
        """`valid`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "valid"

    def check(self, now: datetime) -> None:
        """Raises Forbidden if the key is expired or revoked."""
        state = self.state(now)
        if state != "valid":
            since = self.revoked or self.expires
            verb = "was revoked" if state == "revoked" else "expired"
            raise Forbidden(
                msg("This key {verb} on {since} UTC.", verb=verb, since=f"{since:%Y-%m-%d %H:%M:%S}"), key=self.id
            )


def add(database: Database, models: tuple[str, ...], licensee: str = "", expires: datetime | None = None) -> str:
    """Create a key and return it; only its digest is stored."""
    groups = ["".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS)]
    text = "-".join(groups)
    with database.write() as connection:
        row = (
            _digest(text),
            f"{groups[0]}-...",
            json.dumps(models),
            licensee,
            expires.isoformat() if expires else None,
        )
        id = connection.execute(
            "INSERT INTO keys (digest, hint, models, licensee, expires) VALUES (?, ?, ?, ?, ?)", row
        ).lastrowid
        audit_log.record(connection, audit_log.Entry("key added", id, models[0], detail=licensee))
    return text


def find(database: Database, text: str) -> Key | None:
    """The key with this text; None if there is none."""
    # Keys are random and too long to guess, so a plain SHA-256 without a salt is enough.
    return _one(database, "digest", _digest(text))


def get(database: Database, id: int) -> Key | None:
    """The key with this id; None if there is none."""
    return _one(database, "id", id)


def list_keys(database: Database) -> list[Key]:
    """All keys, the oldest first."""
    return [_key(row) for row in database.read(f"{_SELECT} ORDER BY id")]


def revoke(database: Database, id: int) -> None:
    """Revoke the key and all its links, from the next request on and for good."""
    now = datetime.now(UTC)
    with database.write() as connection:
        connection.execute(
            "UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (now.isoformat(timespec="seconds"), id)
        )
        audit_log.record(connection, audit_log.Entry("key revoked", id, time=now))


_SELECT = "SELECT id, hint, models, licensee, expires, revoked FROM keys"


def _one(database: Database, column: str, value: object) -> Key | None:
    rows = database.read(f"{_SELECT} WHERE {column} = ?", value)
    return _key(rows[0]) if rows else None


def _key(row: tuple[Any, ...]) -> Key:
    id, hint, models, licensee, *times = row
    expires, revoked = (datetime.fromisoformat(time) if time else None for time in times)
    return Key(id, hint, tuple(json.loads(models)), licensee, expires, revoked)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
