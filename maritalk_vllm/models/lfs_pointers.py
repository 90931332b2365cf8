"""Detect Git LFS pointers: a clone without Git LFS has a few lines of text in place of each large file."""

from pathlib import Path

from ..errors import WeightsError
from ..i18n.message import msg

_PREFIX = b"version https://git-lfs.github.com/spec/"
_MAX_BYTES = 1024
_SUFFIXES = (".json", ".model", ".tiktoken", ".txt", ".jinja", ".safetensors")
_PICKLE_SUFFIXES = (".bin", ".pt", ".pth")
"""Weights that vLLM reads only if there are none in safetensors."""


def check_pointers(folder: Path) -> None:
    """Raises WeightsError, which names some of the files, if files that vLLM reads are pointers."""
    endings = _SUFFIXES if any(folder.glob("*.safetensors")) else (*_SUFFIXES, *_PICKLE_SUFFIXES)
    found = sorted(file.name for file in folder.iterdir() if file.suffix in endings and is_pointer(file))
    if found:
        more = " ..." if len(found) > 3 else ""
        raise WeightsError(
            msg(
                "{folder} was cloned without Git LFS, and has pointers in the place of files: {names}{more}.",
                folder=folder,
                names=", ".join(found[:3]),
                more=more,
            ),
            "Run `git lfs pull` in it.",
        )


def is_pointer(file: Path) -> bool:
    """Whether the file is a pointer; False if it cannot be read."""
    try:
        if file.stat().st_size > _MAX_BYTES:
            return False
        with file.open("rb") as content:
            return content.read(len(_PREFIX)) == _PREFIX
    except OSError:
        return False
