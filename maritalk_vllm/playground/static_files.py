"""The files of the page."""

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
}
"""What is sent. Licences and whatever else lies beside is for whoever reads the code."""


class File:
    """One file, read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def media_type(self) -> str:
        """For Content-Type."""
        return _MEDIA_TYPES[self._path.suffix]

    @cached_property
    def content(self) -> bytes:
        """All of it. Raises OSError for one that has gone since."""
        return self._path.read_bytes()

    @cached_property
    def etag(self) -> str:
        """A name of this very content, in quotes."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


def files() -> dict[str, File]:
    """Every file that is sent, by its path below the page, such as `vendor/marked.esm.js`."""
    found = sorted(path for path in STATIC.rglob("*") if path.suffix in _MEDIA_TYPES)
    return {path.relative_to(STATIC).as_posix(): File(path) for path in found}
