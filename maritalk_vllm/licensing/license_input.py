"""Read a licence from its text or from a file path."""

from pathlib import Path

from .license_key import looks_like_key
from .signed_license import looks_like_token

_MAX_BYTES = 65536
"""Longest licence: a longer file, or an endless one, is not a licence."""


def read_license(text_or_path: str) -> str:
    """Return the licence in `text_or_path`, or in the file of that name; if there is none, `text_or_path` itself."""
    text_or_path = text_or_path.strip()
    if _is_licence(text_or_path):
        return text_or_path
    try:
        with Path(text_or_path).expanduser().open("rb") as file:
            text = file.read(_MAX_BYTES).decode().strip()
    except (OSError, ValueError, RuntimeError):
        return text_or_path
    return text if _is_licence(text) else text_or_path


def _is_licence(text: str) -> bool:
    return looks_like_key(text) or looks_like_token(text)
