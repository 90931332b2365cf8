"""Read a licence from its text or from a file path."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LicenseError
from ..i18n.message import Message, joined, msg
from .entitlement import EVALUATION_KEY
from .license_key import looks_like_key
from .signed_license import looks_like_token

_MAX_BYTES = 65536
"""Longest licence: a longer file, or an endless one, is not a licence."""

_TOKEN_START = "eyJ"
_PATH = re.compile(r"(?:/|\./|\.\./|~).*|[^.]+\.(?:json|jwt|key|lic|licence|license|pem|txt)")
"""What is a path for certain. A key with wrong separators is not: no message may show it."""

_COPY_AGAIN = "Copy it again, whole."


@dataclass(frozen=True, slots=True)
class LicenseInput:
    """The licence that a user has given, or why it is none.

    `text` is the licence itself, a secret; empty if there is none. `file` is the file that holds it, if it is in one.
    """

    text: str = field(default="", repr=False)
    file: Path | None = None
    error: LicenseError | None = None

    def named(self, message: str) -> str:
        """A sentence about this licence, after the name of its file."""
        return message if self.file is None else joined(": ", (str(self.file), message))


def read_license(text_or_path: str) -> LicenseInput:
    """Read the licence in `text_or_path`, or in the file of that name."""
    text_or_path = text_or_path.strip()
    if _is_licence(text_or_path):
        return LicenseInput(text_or_path)
    try:
        file = Path(text_or_path).expanduser()
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError, RuntimeError) as error:
        return LicenseInput(error=_no_licence(text_or_path, error))
    if _is_licence(text):
        return LicenseInput(text, file)
    if text.startswith(_TOKEN_START):
        return LicenseInput(error=LicenseError(msg("The licence in {file} is incomplete.", file=file), _COPY_AGAIN))
    return LicenseInput(
        error=LicenseError(
            msg(
                "{file} holds no licence: neither a key in groups, as XXXXX-XXXXX-XXXXX-XXXXX, nor a signed licence.",
                file=file,
            ),
            _hint(),
        )
    )


def _no_licence(text: str, error: Exception) -> LicenseError:
    """The error for a text that is no licence, and that could not be read as a file because of `error`."""
    if text.startswith(_TOKEN_START):
        return LicenseError("This signed licence is incomplete.", _COPY_AGAIN)
    if _looks_like_path(text):
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return LicenseError(msg("The licence file {file} does not exist.", file=text), _hint())
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        return LicenseError(msg("The licence file {file} cannot be read: {reason}.", file=text, reason=reason), _hint())
    return LicenseError(
        "This licence key cannot be checked: it is neither in groups, as XXXXX-XXXXX-XXXXX-XXXXX, nor a signed "
        "licence.",
        _hint(),
    )


def _hint() -> Message:
    return msg(
        "Use --license {evaluation_key} for the demo model, a licence or the file that holds it, or --model with a "
        "folder of weights, which needs none.",
        evaluation_key=EVALUATION_KEY,
    )


def _looks_like_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None


def _is_licence(text: str) -> bool:
    return looks_like_key(text) or looks_like_token(text)
