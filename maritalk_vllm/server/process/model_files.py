"""Detects whether a model's files have changed since an engine loaded them."""

import shutil
from pathlib import Path


class ModelFiles:
    """Compares names and sizes: for a truncated file, the engine only reports that it cannot be read.

    Each method reads a disk that may hang, and may run in several threads at once.
    """

    def __init__(self) -> None:
        self._loaded: tuple[Path, dict[str, int]] | None = None

    def record_loaded(self, location: str) -> None:
        """Record the files that an engine has just loaded. Nothing is recorded for a name of a Hugging Face model."""
        folder = Path(location)
        sizes = _sizes(folder)
        self._loaded = (folder, sizes) if sizes else None

    def have_changed(self) -> bool:
        """Whether a file that was loaded is missing or has another size."""
        if (loaded := self._loaded) is None:
            return False
        folder, sizes = loaded
        current = _sizes(folder)
        return any(current.get(name) != size for name, size in sizes.items())

    def remove(self) -> None:
        """Remove the folder: an incomplete model must not keep its name."""
        if (loaded := self._loaded) is not None:
            shutil.rmtree(loaded[0], ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    """File sizes in bytes by relative name, with `.` for the folder itself; empty if it does not exist."""
    try:
        if not folder.is_dir():
            return {}
        files = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    except OSError:
        return {}
    return {".": 0, **files}
