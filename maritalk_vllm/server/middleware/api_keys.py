"""The server's API keys: stored and looked up by their digests, replaced when the key file changes."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...i18n.message import joined, msg, pluralized

SHORTEST = 16
"""Minimum recommended key length, in characters: a shorter key can be guessed, since attempts are not limited."""

_SHOWN_DIGITS = 8
_UNKNOWN = "?"
_COMMENT = re.compile(r"(?:^|\s)#(.*)")
_NAMED = re.compile(r"\s*name\s*:\s*(\S.{0,63})", re.IGNORECASE)
_SCOPED = re.compile(r"[\s,;(\[]*(?<!\w)scopes?\s*[:=]\s*([^\s,;()\[\]]*)[,;)\]]*\s*", re.IGNORECASE)


def hash_key(key: str) -> str:
    """Return the SHA-256 digest of a key, in hexadecimal. Keys are random and long, so no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """A key's name and its scope; an empty scope means no restriction."""

    name: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The keys of a key file by digest, and warnings for the operator."""

    keys: Mapping[str, Key]
    warnings: tuple[str, ...] = ()


def read_key_file(file: Path, *, may_be_empty: bool = False) -> KeyFile:
    """Read a key file: one key per line, as `KEY` or `KEY # name: ana`. Raises UsageError.

    A comment starts with a `#` at the start of a line or after white space; any other `#` is part of the key.
    `scope: metrics`, anywhere in the comment, limits the key. A key without a name is named by the first digits of
    its digest.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            msg("The API keys in {file} cannot be read: {reason}.", file=file, reason=reason), "See --api-key-file."
        ) from error
    keys: dict[str, Key] = {}
    short_lines: list[int] = []
    hash_lines: list[int] = []
    for number, line in enumerate(lines, 1):
        comment = _COMMENT.search(line)
        key = (line[: comment.start()] if comment else line).strip()
        if not key:
            continue
        digest = hash_key(key)
        keys[digest] = _parse_comment(digest, comment[1] if comment else "")
        if len(key) < SHORTEST:
            short_lines.append(number)
        if "#" in key:
            hash_lines.append(number)
    if not keys and not may_be_empty:
        raise UsageError(msg("{file} holds no API key.", file=file), "Write one a line, or leave --api-key-file out.")
    warnings = []
    if short_lines:
        warning = _short_key_warning(len(short_lines))
        warnings.append(msg("{file}, {lines}: {warning}", file=file, lines=_lines(short_lines), warning=warning))
    if hash_lines:
        warnings.append(
            msg(
                "{file}, {lines}: the # is a part of the key. Write a space before it to begin a comment.",
                file=file,
                lines=_lines(hash_lines),
            )
        )
    return KeyFile(keys, tuple(warnings))


def _parse_comment(digest: str, comment: str = "") -> Key:
    """Parse name and scope of a key. A scope without a value, or scopes that differ, become an unknown scope."""
    scopes = {value.casefold() for value in _SCOPED.findall(comment)}
    scope = "" if not scopes else (scopes.pop() if len(scopes) == 1 else "") or _UNKNOWN
    named = _NAMED.match(_SCOPED.sub(" ", comment))
    return Key(named[1].strip() if named else digest[:_SHOWN_DIGITS], scope)


def weakness(keys: Iterable[str]) -> str:
    """Return a warning for the operator about short keys given as options; empty if all are long enough."""
    short = sum(len(key) < SHORTEST for key in keys)
    return joined(": ", ("--api-key", _short_key_warning(short))) if short else ""


def _short_key_warning(number: int) -> str:
    return msg(
        "{keys} with fewer than {number} characters, which can be guessed. Make longer ones with openssl rand -hex 24.",
        keys=pluralized(number, "{number} API key", "{number} API keys"),
        number=SHORTEST,
    )


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return msg("line {number}", number=shown) if len(numbers) == 1 else msg("lines {number}", number=shown)


class ApiKeys:
    """The valid keys: those given as options, those last read from the key file, and that of the server's own chat."""

    def __init__(self, digests: Iterable[str], file_keys: Mapping[str, Key] | None = None, own: str = "") -> None:
        """`file_keys` is None without a key file; without it and without `digests`, requests need no key.

        `own`: digest of the key of the server's own chat, empty without one.
        """
        self.update(digests, file_keys, own)

    def __bool__(self) -> bool:
        return self._required

    def update(self, digests: Iterable[str], file_keys: Mapping[str, Key] | None, own: str = "") -> None:
        """Replace all valid keys. A key file without any key means that no request is accepted."""
        option_keys = {digest: _parse_comment(digest) for digest in digests}
        self._user_keys = option_keys | dict(file_keys or {})
        self._all_keys = self._user_keys | ({own: _parse_comment(own)} if own else {})
        self._required = bool(option_keys) or file_keys is not None

    @property
    def are_several(self) -> bool:
        """Whether several user keys can generate, so that the requests of one may delay those of another."""
        return sum(not key.scope for key in self._user_keys.values()) > 1

    def match(self, key: str) -> str | None:
        """Return the digest of `key` if it is valid, else None."""
        # The time of a look-up depends on the digest alone, and a client cannot choose a key by its digest.
        digest = hash_key(key)
        return digest if digest in self._all_keys else None

    def label_of(self, digest: str) -> str:
        """Return the name of a valid key, for the log and the metrics."""
        return self._all_keys[digest].name if digest in self._all_keys else ""

    def scope_of(self, digest: str) -> str:
        """Return the scope of a valid key; empty for a key without restrictions."""
        return self._all_keys[digest].scope if digest in self._all_keys else _UNKNOWN
