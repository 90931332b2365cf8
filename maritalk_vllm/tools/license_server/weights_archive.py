"""Archives of weights, registered with their SHA-256 and served as long as the file is unchanged."""

import hashlib
import os
import stat
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError, WeightsError
from ...i18n.message import msg
from ...weights.archive import unpacked_bytes
from . import audit_log
from .database import Database
from .service_errors import Changed


@dataclass(frozen=True, slots=True)
class WeightsArchive:
    """A local file, its size in bytes, modification time in nanoseconds, and SHA-256 in hex."""

    model: str
    path: Path
    size: int
    modified: int
    sha256: str

    @property
    def name(self) -> str:
        """Its name in links, which changes with the content."""
        return f"{self.model}-{self.sha256[:16]}"

    def check_unchanged(self) -> os.stat_result:
        """The file's current status. Raises Changed if it differs from the registered one."""
        try:
            now = self.path.stat()
        except OSError:
            now = None
        if now is None or (now.st_size, now.st_mtime_ns) != (self.size, self.modified):
            raise Changed(
                msg("The archive of {model} on this service was changed or moved.", model=self.model), model=self.model
            )
        return now


def read(model: str, file: Path) -> WeightsArchive:
    """Read a file's metadata and compute its SHA-256. Raises UsageError."""
    try:
        return _read(model, file.resolve())
    except OSError as error:
        raise UsageError(
            msg("{target} cannot be read: {reason}.", target=file, reason=error.strerror),
            "Give the archive of the weights.",
        ) from error


def check_unpacks(archive: WeightsArchive) -> None:
    """Raises UsageError if a host would reject the archive when unpacking it."""
    try:
        unpacked_bytes(archive.path)
    except WeightsError as error:
        raise UsageError(
            msg("No host would unpack {path}: {message}", path=archive.path, message=error.message),
            "Pack config.json, the safetensors and the tokenizer's files.",
        ) from error


def register(database: Database, archive: WeightsArchive) -> None:
    """Serve this archive from now on, in place of the model's previous one."""
    with database.write() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO archives (model, path, size, modified, sha256) VALUES (?, ?, ?, ?, ?)",
            (archive.model, os.fsencode(archive.path), *astuple(archive)[2:]),
        )
        audit_log.record(
            connection, audit_log.Entry("weights added", model=archive.model, detail=f"SHA-256 {archive.sha256}")
        )


def of_model(database: Database, model: str) -> WeightsArchive | None:
    """The archive of this model; None if there is none."""
    rows = database.read(f"{_SELECT} WHERE model = ?", model)
    return _archive(rows[0]) if rows else None


def named(database: Database, name: str) -> WeightsArchive | None:
    """The archive with this name in links; None if there is none."""
    return next((archive for archive in map(_archive, database.read(_SELECT)) if archive.name == name), None)


_SELECT = "SELECT model, path, size, modified, sha256 FROM archives"


def _archive(row: tuple[Any, ...]) -> WeightsArchive:
    model, path, *rest = row
    return WeightsArchive(model, Path(os.fsdecode(path)), *rest)


def _read(model: str, path: Path) -> WeightsArchive:
    with path.open("rb") as opened:
        before = os.fstat(opened.fileno())
        if not stat.S_ISREG(before.st_mode) or not before.st_size:
            raise UsageError(msg("{path} is no archive.", path=path), "Give the archive of the weights.")
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        after = os.fstat(opened.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UsageError(msg("{path} changed while it was read.", path=path), "Register it when it is whole.")
    return WeightsArchive(model, path, after.st_size, after.st_mtime_ns, digest)
