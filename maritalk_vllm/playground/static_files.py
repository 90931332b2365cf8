"""Static files of the page."""

import hashlib
from functools import cached_property
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""Served file types. Others in the folder, such as licences, are not served."""


class File:
    """One file, read on first access."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def media_type(self) -> str:
        """Value of Content-Type."""
        return _MEDIA_TYPES[self._path.suffix]

    @cached_property
    def content(self) -> bytes:
        """The file's bytes. Raises OSError if the file was removed."""
        return self._path.read_bytes()

    @cached_property
    def etag(self) -> str:
        """Hash of the content, in quotes."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def files() -> dict[str, File]:
    """Every served file, by its path below the page, such as `vendor/marked.esm.js`."""
    found = sorted(path for path in STATIC.rglob("*") if path.suffix in _MEDIA_TYPES)
    return {path.relative_to(STATIC).as_posix(): File(path) for path in found}
