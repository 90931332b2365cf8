"""What is here of a file that is being fetched, and which file that is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..models.atomic_install import sibling


@dataclass(frozen=True, slots=True)
class Link:
    """Where a file is for now; and its size in bytes and its SHA-256 in hexadecimal, where they are known."""

    url: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells two files apart; `validator` is the server's own sign, an ETag or a date."""

    size: int | None
    validator: str | None
    sha256: str | None

    @property
    def can_be_resumed(self) -> bool:
        """Whether a later answer can be told to be of the same file."""
        return self.validator is not None or self.sha256 is not None

    def may_be(self, link: Link) -> bool:
        """Whether nothing that is known of the link's file speaks against it."""
        return self.sha256 == link.sha256 and link.size in (None, self.size)


class PartialFile:
    """A file on its way, and its identity beside it. Whoever uses it holds a lock."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._beside = sibling(file, "json")

    @property
    def size(self) -> int:
        """The bytes that are here."""
        return self.file.stat().st_size if self.file.exists() else 0

    def identity(self) -> Identity | None:
        """Of which file it is; None if that is not known."""
        try:
            return Identity(**json.loads(self._beside.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, identity: Identity) -> None:
        """Nothing is here yet, and it will be of this file."""
        self.forget()
        self._beside.write_text(json.dumps(asdict(identity)))

    def append(self, data: bytes) -> None:
        """Add what has arrived. It is with the kernel when this returns, whatever becomes of this process."""
        with self.file.open("ab") as file:
            file.write(data)

    def forget(self) -> None:
        """Remove all of it."""
        self.file.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)
