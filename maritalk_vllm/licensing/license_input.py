"""A licence as it was given: the text itself, or the name of a file that holds it."""

from pathlib import Path

from .license_key import looks_like_key
from .signed_license import looks_like_token

_MOST_BYTES = 65536
"""No licence is as long; a file that is, or that never ends, is none."""


def read_license(given: str) -> str:
    """The key or the signed licence that `given` is, or that the file of this name holds; else `given` itself."""
    given = given.strip()
    if _is_licence(given):
        return given
    try:
        with Path(given).expanduser().open("rb") as file:
            text = file.read(_MOST_BYTES).decode().strip()
    except (OSError, ValueError, RuntimeError):
        return given
    return text if _is_licence(text) else given


def _is_licence(text: str) -> bool:
    return looks_like_key(text) or looks_like_token(text)
