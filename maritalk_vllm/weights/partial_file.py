"""A partially downloaded file and the identity of its source."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..models.atomic_install import sibling


@dataclass(frozen=True, slots=True)
class Link:
    """A temporary link to a file, with its size in bytes and SHA-256 in hexadecimal, if known."""

    url: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Identity of a remote file; `validator` is the server's ETag or Last-Modified date."""

    size: int | None
    validator: str | None
    sha256: str | None

    @property
    def is_resumable(self) -> bool:
        """Whether a later response can be recognized as the same file."""
        return self.validator is not None or self.sha256 is not None

    def matches(self, link: Link) -> bool:
        """Whether the link may lead to this file, by the size and hash that it gives."""
        return self.sha256 == link.sha256 and link.size in (None, self.size)


class PartialFile:
    """A partial download, with its identity in a second file. The caller must hold a lock."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._identity_file = sibling(file, "json")

    @property
    def size(self) -> int:
        """Number of bytes downloaded so far."""
        return self.file.stat().st_size if self.file.exists() else 0

    def identity(self) -> Identity | None:
        """The identity of the file; None if unknown."""
        try:
            return Identity(**json.loads(self._identity_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def start(self, identity: Identity) -> None:
        """Discard the content, and start a download of the file with this identity."""
        self.discard()
        self._identity_file.write_text(json.dumps(asdict(identity)))

    def append(self, data: bytes) -> None:
        """Append received bytes. They survive a crash of this process once this method returns."""
        with self.file.open("ab") as file:
            file.write(data)

    def discard(self) -> None:
        """Delete the partial file and its identity."""
        self.file.unlink(missing_ok=True)
        self._identity_file.unlink(missing_ok=True)
