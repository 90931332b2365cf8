"""Whether the files of a model are as they were when an engine had loaded them."""

import shutil
from pathlib import Path


class ModelFiles:
    """Names and sizes: of a file that was cut, the engine says no more than that it cannot be read.

    Each method reads a disk that may hang. They may run in several threads at once.
    """

    def __init__(self) -> None:
        self._loaded: tuple[Path, dict[str, int]] | None = None

    def loaded(self, location: str) -> None:
        """An engine has loaded what is there now. A name of Hugging Face's is no folder: nothing is compared then."""
        folder = Path(location)
        sizes = _sizes(folder)
        self._loaded = (folder, sizes) if sizes else None

    def differ(self) -> bool:
        """Whether something is missing of what was loaded, or has another size."""
        if (loaded := self._loaded) is None:
            return False
        folder, sizes = loaded
        now = _sizes(folder)
        return any(now.get(name) != size for name, size in sizes.items())

    def clear(self) -> None:
        """Remove what is left of them: what is not whole must not have their name."""
        if (loaded := self._loaded) is not None:
            shutil.rmtree(loaded[0], ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    """In bytes, by name, with the folder itself; nothing if there is none."""
    try:
        if not folder.is_dir():
            return {}
        files = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    except OSError:
        return {}
    return {".": 0, **files}
