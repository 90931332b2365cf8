"""Files of Git LFS that were never fetched: a clone without it has a few lines in the place of each."""

from pathlib import Path

from ..errors import WeightsError

_BEGINS = b"version https://git-lfs.github.com/spec/"
_LARGEST_BYTES = 1024
_READ = (".json", ".model", ".tiktoken", ".txt", ".jinja", ".safetensors")
_WEIGHTS = (".bin", ".pt", ".pth")
"""Weights that vLLM reads only where there is none in safetensors."""


def check_pointers(folder: Path) -> None:
    """Raises WeightsError if a file that vLLM reads is a pointer, and names some."""
    endings = _READ if any(folder.glob("*.safetensors")) else (*_READ, *_WEIGHTS)
    found = sorted(file.name for file in folder.iterdir() if file.suffix in endings and is_pointer(file))
    if found:
        more = " ..." if len(found) > 3 else ""
        raise WeightsError(
            f"{folder} was cloned without Git LFS, and has pointers in the place of files: "
            f"{', '.join(found[:3])}{more}.",
            "Run `git lfs pull` in it.",
        )


def is_pointer(file: Path) -> bool:
    """Whether this is a pointer; False for what cannot be read."""
    try:
        if file.stat().st_size > _LARGEST_BYTES:
            return False
        with file.open("rb") as content:
            return content.read(len(_BEGINS)) == _BEGINS
    except OSError:
        return False
