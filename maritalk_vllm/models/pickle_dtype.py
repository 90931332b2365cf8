"""Read the dtype of pickled weights without unpickling them."""

import pickletools
import zipfile
from pathlib import Path

_STORAGES = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "DoubleStorage": "float64",
}
_MAX_BYTES = 256 << 20


def pickled_dtype(file: Path) -> str | None:
    """The only floating-point dtype in a file written by torch.save; None for several, or for another format."""
    try:
        with zipfile.ZipFile(file) as archive:
            info = next(info for info in archive.infolist() if info.filename.endswith("data.pkl"))
            if info.file_size > _MAX_BYTES:
                return None
            content = archive.read(info)
        # The argument of GLOBAL is a module and a class in it.
        names = {
            str(argument).split()[-1] for opcode, argument, _ in pickletools.genops(content) if opcode.name == "GLOBAL"
        }
    except (zipfile.BadZipFile, StopIteration, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return None
    found = {_STORAGES[name] for name in names if name in _STORAGES}
    return found.pop() if len(found) == 1 else None
