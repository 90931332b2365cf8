"""The API keys of those who may ask: kept as digests, compared in constant time, read again when their file changes."""

import hashlib
import hmac
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError

_LOOK_SECONDS = 1.0


def digest(key: str) -> str:
    """What is kept of a key, in hexadecimal. Keys are drawn from more than can be tried: no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(file: Path) -> frozenset[str]:
    """The digests of the keys in a file: one a line, without what follows a `#`. Raises UsageError."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"The API keys in {file} cannot be read: {reason}.", "See --api-key-file.") from error
    keys = frozenset(digest(key) for line in lines if (key := line.partition("#")[0].strip()))
    if not keys:
        raise UsageError(f"{file} holds no API key.", "Write one a line, or leave --api-key-file out.")
    return keys


class ApiKeys:
    """Those given once, by their digests, and those of a file as it is now."""

    def __init__(self, digests: Iterable[str], file: Path | None = None) -> None:
        """Raises UsageError for a file that holds none."""
        self._given = frozenset(digests)
        self._file = file
        # First, so that a change while it is read is one.
        self._sign = _sign(file)
        self._read = read_keys(file) if file else frozenset()
        self._looked = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._given or self._file)

    def find(self, key: str) -> str | None:
        """The digest of a key that is one of these, else None."""
        self._look_again()
        asked, found = digest(key), None
        for known in self._given | self._read:
            # All of them, whichever it is: how long it takes tells nothing.
            if hmac.compare_digest(asked, known):
                found = known
        return found

    def _look_again(self) -> None:
        """Take over what has changed in the file. One that cannot be read, or is empty, changes nothing."""
        now = time.monotonic()
        if self._file is None or now < self._looked + _LOOK_SECONDS:
            return
        self._looked = now
        sign = _sign(self._file)
        if sign is None or sign == self._sign:
            return
        try:
            self._read = read_keys(self._file)
        except UsageError:
            return
        self._sign = sign


def _sign(file: Path | None) -> tuple[int, int, int] | None:
    """What differs after a change: a file that is replaced has another number."""
    try:
        now = file.stat() if file else None
    except OSError:
        return None
    return (now.st_mtime_ns, now.st_size, now.st_ino) if now else None
