"""The API keys of those who may ask: kept as digests, compared in constant time, exchanged when their file changes."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..words import counted

KEY = "maritalk.key"
"""Where a request's scope has the digest of the key that it has brought."""

KEY_NAME = "maritalk.key_name"
"""Where it has what those who watch are told of the key."""

KEY_SCOPE = "maritalk.key_scope"
"""Where it has what the key is for, as server/scopes.py knows it; empty for all that the server offers."""

SHORTEST = 16
"""Characters; a shorter key can be tried out, since nothing limits how often."""

_SHOWN_DIGITS = 8
_COMMENT = re.compile(r"(?:^|\s)#(.*)")
_NAMED = re.compile(r"\s*(?:name:\s*|(?=scope:))(\S.{0,63})")
_SCOPED = re.compile(r"(?:^|[\s,;]+)scope:\s*(.*?)\s*$")


def digest(key: str) -> str:
    """What is kept of a key, in hexadecimal. Keys are drawn from more than can be tried: no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The digests of a file's keys with their names, and what whoever wrote the file should know."""

    keys: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def read_key_file(file: Path, *, may_be_empty: bool = False) -> KeyFile:
    """One key a line, as `KEY` or `KEY # name: ana`. Raises UsageError.

    A comment begins with a `#` at the beginning of a line or after white space: any other `#` is a part of the key. A
    name may end with what the key is for: `, scope: metrics`. A key without a name has the first digits of its digest
    for one.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"The API keys in {file} cannot be read: {reason}.", "See --api-key-file.") from error
    keys: dict[str, str] = {}
    short: list[int] = []
    joined: list[int] = []
    for number, line in enumerate(lines, 1):
        comment = _COMMENT.search(line)
        key = (line[: comment.start()] if comment else line).strip()
        if not key:
            continue
        named = _NAMED.match(comment[1]) if comment else None
        keys[digest(key)] = named[1].strip() if named else digest(key)[:_SHOWN_DIGITS]
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


def weakness(keys: Iterable[str]) -> str:
    """What to know of keys that were given as options; empty if they are long enough."""
    short = sum(len(key) < SHORTEST for key in keys)
    return f"--api-key: {_short(short)}" if short else ""


def _short(number: int) -> str:
    return (
        f"{counted(number, 'API key')} with fewer than {SHORTEST} characters, which can be guessed. "
        "Make longer ones with openssl rand -hex 24."
    )


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"line {shown}" if len(numbers) == 1 else f"lines {shown}"


class ApiKeys:
    """Those given once, by their digests, and those of a file as it was read last."""

    def __init__(self, digests: Iterable[str], of_file: Mapping[str, str] | None = None) -> None:
        """`of_file`: digests and names; None where no file was named. Without both, no key is needed."""
        self.take(digests, of_file)

    def __bool__(self) -> bool:
        return self._needed

    def take(self, digests: Iterable[str], of_file: Mapping[str, str] | None) -> None:
        """These are known from now on, and no others. A file without any is not the same as none: it lets nobody in."""
        given = {each: each[:_SHOWN_DIGITS] for each in digests}
        self._all = given | dict(of_file or {})
        self._needed = bool(given) or of_file is not None

    @property
    def are_several(self) -> bool:
        """Whether one key's requests may keep another's waiting."""
        return len(self._all) > 1

    def find(self, key: str) -> str | None:
        """The digest of a key that is one of these, else None."""
        asked, found = digest(key), None
        for known in self._all:
            # All of them, whichever it is: how long it takes tells nothing.
            if hmac.compare_digest(asked, known):
                found = known
        return found

    def name(self, found: str) -> str:
        """What those who watch are told of a key that was found."""
        named = self._all.get(found, "")
        return _SCOPED.sub("", named) or (found[:_SHOWN_DIGITS] if named else "")

    def scope(self, found: str) -> str:
        """What a key that was found is for; empty for all that the server offers."""
        scoped = _SCOPED.search(self._all.get(found, ""))
        return scoped[1] or "?" if scoped else ""
