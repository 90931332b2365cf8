"""The type of the numbers in a pickle of weights, read from it without running it."""

import pickletools
import zipfile
from pathlib import Path

_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
}
_MOST_BYTES = 256 << 20


def pickled_dtype(file: Path) -> str | None:
    """The only type of floating-point numbers in a file of torch.save; None for several, or for another format."""
    try:
        with zipfile.ZipFile(file) as archive:
            info = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
            if info.file_size > _MOST_BYTES:
                return None
            content = archive.read(info)
        # A module and a class in it.
        names = {str(words).split()[-1] for code, words, _ in pickletools.genops(content) if code.name == "GLOBAL"}
    except (zipfile.BadZipFile, StopIteration, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return None
    found = {_STORAGES[name] for name in names if name in _STORAGES}
    return found.pop() if len(found) == 1 else None
