"""Whether the files of a model are as they were when an engine had loaded them."""

import shutil
from pathlib import Path


class ModelFiles:
    """Names and sizes: of a file that was cut, the engine says no more than that it cannot be read."""

    def __init__(self) -> None:
        self._location = Path()
        self._loaded: dict[str, int] | None = None

    def loaded(self, location: str) -> None:
        """An engine has loaded what is there now. A name of Hugging Face's is no folder: nothing is compared then."""
        self._location = Path(location)
        self._loaded = _sizes(self._location) or None

    def differ(self) -> bool:
        """Whether something is missing of what was loaded, or has another size."""
        if self._loaded is None:
            return False
        now = _sizes(self._location)
        return any(now.get(name) != size for name, size in self._loaded.items())

    def clear(self) -> None:
        """Remove what is left of them: what is not whole must not have their name."""
        shutil.rmtree(self._location, ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    """In bytes, by name, with the folder itself; nothing if there is none."""
    try:
        if not folder.is_dir():
            return {}
        files = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    except OSError:
        return {}
    return {".": 0, **files}
