"""The installed torch, read from its source: importing it would take seconds."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

_VERSION = re.compile(r"^__version__ = '([^']+)'", re.MULTILINE)
_CUDA = re.compile(r"^cuda\b[^=]*= '(\d+)\.(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """Version of torch, such as `2.13.0+cu130`, and of the CUDA that it was built for; None for a CPU build."""

    version: str
    cuda: tuple[int, int] | None


def installed_torch() -> TorchBuild | None:
    """Return the installed torch; None if there is none, or its source has an unexpected layout."""
    spec = importlib.util.find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    return parse_version_file(file.read_text(encoding="utf-8")) if file is not None and file.is_file() else None


def parse_version_file(text: str) -> TorchBuild | None:
    """Parse torch/version.py; None if it names no version."""
    version, cuda = _VERSION.search(text), _CUDA.search(text)
    if version is None:
        return None
    return TorchBuild(version[1], (int(cuda[1]), int(cuda[2])) if cuda else None)
