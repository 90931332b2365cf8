"""The server's API keys: kept as digests, compared in constant time, exchanged when their file changes."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...text_format import pluralize

KEY = "maritalk.key"
"""Where the scope of a request has the digest of its key."""

KEY_NAME = "maritalk.key_name"
"""Where it has the name of the key, for the log and the metrics."""

KEY_SCOPE = "maritalk.key_scope"
"""Where it has the scope of the key (key_scopes.py); empty for everything that the server offers."""

SHORTEST = 16
"""Characters; a shorter key can be guessed, since nothing limits the attempts."""

_SHOWN_DIGITS = 8
_UNKNOWN = "?"
_COMMENT = re.compile(r"(?:^|\s)#(.*)")
_NAMED = re.compile(r"\s*name\s*:\s*(\S.{0,63})", re.IGNORECASE)
_SCOPED = re.compile(r"[\s,;(\[]*(?<!\w)scopes?\s*[:=]\s*([^\s,;()\[\]]*)[,;)\]]*\s*", re.IGNORECASE)


def hash_key(key: str) -> str:
    """Its SHA-256 digest, in hexadecimal. Keys are random and long: no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """A key's name, and its scope, empty for everything that the server offers."""

    name: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The keys of a file by their digests, and warnings for the operator."""

    keys: Mapping[str, Key]
    warnings: tuple[str, ...] = ()


def read_key_file(file: Path, *, may_be_empty: bool = False) -> KeyFile:
    """One key a line, as `KEY` or `KEY # name: ana`. Raises UsageError.

    A comment begins with a `#` at the beginning of a line or after white space: any other `#` is a part of the key.
    `scope: metrics`, anywhere in the comment, limits the key. A key without a name has the first digits of its digest
    for one.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"The API keys in {file} cannot be read: {reason}.", "See --api-key-file.") from error
    keys: dict[str, Key] = {}
    short: list[int] = []
    joined: list[int] = []
    for number, line in enumerate(lines, 1):
        comment = _COMMENT.search(line)
        key = (line[: comment.start()] if comment else line).strip()
        if not key:
            continue
        keys[hash_key(key)] = _described(hash_key(key), comment[1] if comment else "")
        if len(key) < SHORTEST:
            short.append(number)
        if "#" in key:
            joined.append(number)
    if not keys and not may_be_empty:
        raise UsageError(f"{file} holds no API key.", "Write one a line, or leave --api-key-file out.")
    warnings = []
    if short:
        warnings.append(f"{file}, {_lines(short)}: {_short(len(short))}")
    if joined:
        warnings.append(
            f"{file}, {_lines(joined)}: the # is a part of the key. Write a space before it to begin a comment."
        )
    return KeyFile(keys, tuple(warnings))


def _described(found: str, comment: str = "") -> Key:
    """A key by its digest and its comment. A scope without a value, or several that differ, are one that is unknown."""
    scopes = {value.casefold() for value in _SCOPED.findall(comment)}
    scope = "" if not scopes else (scopes.pop() if len(scopes) == 1 else "") or _UNKNOWN
    named = _NAMED.match(_SCOPED.sub(" ", comment))
    return Key(named[1].strip() if named else found[:_SHOWN_DIGITS], scope)


def weakness(keys: Iterable[str]) -> str:
    """A warning for the operator about keys that were given as options; empty if they are long enough."""
    short = sum(len(key) < SHORTEST for key in keys)
    return f"--api-key: {_short(short)}" if short else ""


def _short(number: int) -> str:
    return (
        f"{pluralize(number, 'API key')} with fewer than {SHORTEST} characters, which can be guessed. "
        "Make longer ones with openssl rand -hex 24."
    )


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"line {shown}" if len(numbers) == 1 else f"lines {shown}"


class ApiKeys:
    """The keys that were given as options, those of a file as it was read last, and one of the server's own."""

    def __init__(self, digests: Iterable[str], of_file: Mapping[str, Key] | None = None, own: str = "") -> None:
        """`of_file` is None where no file was named; without it and without `digests`, no key is needed.

        `own`: the digest of the key of the server's own chat, if there is one.
        """
        self.take(digests, of_file, own)

    def __bool__(self) -> bool:
        return self._needed

    def take(self, digests: Iterable[str], of_file: Mapping[str, Key] | None, own: str = "") -> None:
        """From now on only these are valid. With a file without any key, no request is accepted."""
        given = {each: _described(each) for each in digests}
        self._users = given | dict(of_file or {})
        self._all = self._users | ({own: _described(own)} if own else {})
        self._needed = bool(given) or of_file is not None

    @property
    def are_several(self) -> bool:
        """Whether the requests of one user's key may delay those of another's."""
        return sum(not key.scope for key in self._users.values()) > 1

    def find(self, key: str) -> str | None:
        """The digest of a key that is one of these, else None."""
        asked, found = hash_key(key), None
        for known in self._all:
            # All of them are compared, so that the time does not depend on the key.
            if hmac.compare_digest(asked, known):
                found = known
        return found

    def name(self, found: str) -> str:
        """The name of a key that was found, for the log and the metrics."""
        return self._all[found].name if found in self._all else ""

    def scope(self, found: str) -> str:
        """The scope of a key that was found; empty for everything that the server offers."""
        return self._all[found].scope if found in self._all else _UNKNOWN
