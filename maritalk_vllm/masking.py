"""Masks secrets in output and logs; recognizes them by the names of flags, keys and variables."""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from .i18n.message import mapped

MASK = "********"

_SECRET_WORDS = frozenset(
    {"secret", "secrets", "password", "passwords", "passwd", "passphrase", "pwd", "credential", "credentials"}
    | {"apikey", "apikeys", "authorization", "bearer", "cookie", "signature"}
)
_SECRET_LAST_WORDS = frozenset({"token", "key", "license", "licence", "auth", "sig"})
_PLURAL_LAST_WORDS = frozenset({"tokens", "keys"})
_SECRET_QUALIFIERS = frozenset({"access", "api", "auth", "bearer", "hf", "private", "refresh"})
_PUBLIC_WORDS = frozenset({"public", "allow", "per", "eos", "bos", "pad", "unk", "sort"})
_SECRET_SUFFIXES = ("password", "passwd")
"""Suffixes of a word, as in PGPASSWORD."""

_PATH_WORDS = frozenset({"file", "path", "dir", "directory", "folder"})
_SHELL_FOLDERS = frozenset({"PWD", "OLDPWD"})
"""Variables of every shell. As a key, as in a connection string, PWD is a password."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Each pattern starts at a word boundary: tried at every character, a long name would take minutes.
_URL_SECRET = re.compile(r"(?<![\w+.-])([\w+.-]+://)[^\s/?#@:]*(?::[^\s/?#@]*)?@")
# In prose a colon may follow any word: it counts only after a quoted name, or in what looks like a mapping.
_NAME = re.compile(r"""(?:(?<=["'{,])|(?<=[{,]\s))([A-Za-z][\w.-]*)["']?\s*:\s*|(?<![\w.-])([\w.-]+)\s*=\s*""")
_VALUE = re.compile(r"""(["'])(?:[^\\]|\\.)*?\1|[^\s"',;&(){}\[\]]+""")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}")
_MIN_SECRET_LENGTH = 6
"""Minimum length of a value to search for in other texts: a shorter one occurs in many words."""


def is_secret(name: str) -> bool:
    """Whether a flag, a key or a variable of this name holds a secret: --hf-token, apiKey, AWS_SECRET_ACCESS_KEY."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or _PUBLIC_WORDS & set(words) or words[-1] in _PATH_WORDS:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if _SECRET_WORDS & set(words) or any(word.endswith(_SECRET_SUFFIXES) for word in words):
        return True
    return last in _SECRET_LAST_WORDS or (last in _PLURAL_LAST_WORDS and before in _SECRET_QUALIFIERS)


def masked_words(words: Sequence[str]) -> tuple[str, ...]:
    """Command line arguments, with the values of secret flags and the secrets within other values masked."""
    shown: list[str] = []
    is_secret_value = first = False
    for word in words:
        flag, equals, value = word.partition("=")
        if word.startswith("-") and not (first and not word.startswith("--")):
            is_secret_value = first = is_secret(flag) and not equals
            shown.append(f"{flag}={_value(flag, value)}" if equals else word)
        else:
            first = False
            shown.append(MASK if is_secret_value else masked(word))
    return tuple(shown)


def masked(text: str) -> str:
    """Any text, with the values of secret names masked, and the passwords and signatures in URLs."""
    parsed = _json(text)
    if parsed is not None:
        shown = _masked_json(parsed)
        return text if shown == parsed else json.dumps(shown, ensure_ascii=False)
    text = _URL_SECRET.sub(lambda found: f"{found[1]}{MASK}@", text)
    return _pairs(_BEARER.sub(rf"\1 {MASK}", text))


def secrets_of(words: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> frozenset[str]:
    """The secret values among command line arguments and environment variables."""
    found: set[str] = set()
    for word, shown in zip(words, masked_words(words), strict=True):
        if word != shown:
            found.update(_hidden(word, shown))
    variables = (environment or {}).items()
    found.update(value for name, value in variables if is_secret(name) and name not in _SHELL_FOLDERS)
    return frozenset(value for value in found if len(value) >= _MIN_SECRET_LENGTH)


def without(secrets: Iterable[str], text: str) -> str:
    """Mask all occurrences of these values in a text or in the values of a message."""
    longest_first = sorted(secrets, key=len, reverse=True)

    def mask(part: str) -> str:
        for secret in longest_first:
            part = part.replace(secret, MASK)
        return part

    return mapped(text, mask)


class LogFilter(logging.Filter):
    """Masks secret values in log records, including arguments and tracebacks."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record; always returns true."""
        text = record.getMessage()
        if any(secret in text for secret in self._secrets):
            record.msg, record.args = without(self._secrets, text), ()
        if record.exc_info or record.exc_text:
            traceback = record.exc_text or logging.Formatter().formatException(record.exc_info or (None, None, None))
            if any(secret in traceback for secret in self._secrets):
                record.exc_text, record.exc_info = without(self._secrets, traceback), None
        return True


def _value(name: str, value: str) -> str:
    return MASK if is_secret(name) else masked(value)


def _pairs(text: str) -> str:
    """Mask the secret values of `name=value` and `"name": "value"`."""
    shown, position = "", 0
    for found in _NAME.finditer(text):
        value = (
            _VALUE.match(text, found.end()) if found.start() >= position and is_secret(found[1] or found[2]) else None
        )
        if value is not None:
            quote = value[1] or ""
            shown += f"{text[position : found.end()]}{quote}{MASK}{quote}"
            position = value.end()
    return shown + text[position:]


def _json(text: str) -> Any:  # noqa: ANN401
    """Parse a JSON object or list; None for any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _masked_json(value: Any, name: str = "") -> Any:  # noqa: ANN401
    if is_secret(name) and value is not None and not isinstance(value, bool):
        return MASK
    if isinstance(value, dict):
        return {key: _masked_json(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked_json(each) for each in value]
    return masked(value) if isinstance(value, str) else value


def _hidden(word: str, shown: str) -> Iterator[str]:
    """The parts of a word that are masked in `shown`."""
    parsed = _json(word.partition("=")[2] if word.startswith("-") and "=" in word else word)
    if parsed is not None and shown != MASK:
        yield from _hidden_json(parsed)
        return
    pattern = ".*?".join(map(re.escape, shown.split(MASK))).replace(".*?", "(.*?)")
    if found := re.fullmatch(pattern, word, re.DOTALL):
        for part in found.groups():
            yield from (part, unquote(part), part.rpartition(":")[2])


def _hidden_json(value: Any, name: str = "") -> Iterator[str]:  # noqa: ANN401
    if is_secret(name):
        yield from _strings(value)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _hidden_json(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _hidden_json(each)
    elif isinstance(value, str) and masked(value) != value:
        yield from _hidden(value, masked(value))


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)
