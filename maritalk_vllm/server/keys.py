"""The API keys of those who may ask: kept as digests, compared in constant time, read again when their file changes."""

import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import UsageError

KEY = "maritalk.key"
"""Where a request's scope has the digest of the key that it has brought."""

KEY_NAME = "maritalk.key_name"
"""Where it has what those who watch are told of the key."""

_LOOK_SECONDS = 1.0
_SHOWN_DIGITS = 8
_NAMED = re.compile(r"\s*name:\s*(\S.{0,63})")


def digest(key: str) -> str:
    """What is kept of a key, in hexadecimal. Keys are drawn from more than can be tried: no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(file: Path) -> dict[str, str]:
    """The digests of the keys in a file and their names: one a line, as `KEY` or `KEY # name: ana`. Raises UsageError.

    Anything else behind a `#` is a comment. A key without a name has the first digits of its digest for one.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"The API keys in {file} cannot be read: {reason}.", "See --api-key-file.") from error
    keys: dict[str, str] = {}
    for line in lines:
        key, _, comment = line.partition("#")
        if key := key.strip():
            named = _NAMED.match(comment)
            keys[digest(key)] = named[1].strip() if named else digest(key)[:_SHOWN_DIGITS]
    if not keys:
        raise UsageError(f"{file} holds no API key.", "Write one a line, or leave --api-key-file out.")
    return keys


class ApiKeys:
    """Those given once, by their digests, and those of a file as it is now."""

    def __init__(self, digests: Iterable[str], file: Path | None = None) -> None:
        """Raises UsageError for a file that holds none."""
        self._given = {each: each[:_SHOWN_DIGITS] for each in digests}
        self._file = file
        # First, so that a change while it is read is one.
        self._sign = _sign(file)
        self._all = self._given | (read_keys(file) if file else {})
        self._looked = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._given or self._file)

    def find(self, key: str) -> str | None:
        """The digest of a key that is one of these, else None."""
        self._look_again()
        asked, found = digest(key), None
        for known in self._all:
            # All of them, whichever it is: how long it takes tells nothing.
            if hmac.compare_digest(asked, known):
                found = known
        return found

    def name(self, found: str) -> str:
        """What those who watch are told of a key that was found."""
        return self._all.get(found, "")

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
            self._all = self._given | read_keys(self._file)
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
