"""Find the weights files that vLLM would load from a folder, as its default_loader.py (0.32 and 0.33) does."""

import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath

from ..errors import WeightsError
from ..i18n.message import msg
from .json_file import Section, read_object

INDEX = "model.safetensors.index.json"
_MISTRAL = "consolidated*.safetensors"
_MISTRAL_INDEX = "consolidated.safetensors.index.json"

_PATTERNS = {
    "hf": ("*.safetensors", "*.bin", "*.pt"),
    "mistral": (_MISTRAL,),
    "pt": ("*.pt",),
    "npcache": ("*.bin", "*.pt"),
}
_SAFETENSORS = ("*.safetensors",)
"""Patterns of every other load format."""

# Files that a trainer leaves next to the weights.
_TRAINING_FILES = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")
_JUNK = (*_TRAINING_FILES, "rng_state*.pth", "Thumbs.db", "desktop.ini")

NO_WEIGHTS = ("dummy",)
"""Load formats that read no weights."""


@dataclass(frozen=True, slots=True)
class WeightsFiles:
    """The files in order, and whether they are safetensors or pickles."""

    files: tuple[Path, ...]
    safetensors: bool


def is_junk(path: PurePath) -> bool:
    """Whether a file is not needed to serve a model: hidden, macOS metadata, or left by a trainer."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return hidden or any(fnmatch(path.name, pattern) for pattern in _JUNK)


def has_mistral_weights(folder: Path) -> bool:
    """Whether vLLM treats the folder as one in Mistral's own layout. Like vLLM, this searches subfolders too."""
    return any(path.is_file() for path in folder.rglob(_MISTRAL))


def weights_files(folder: Path, load_format: str = "auto") -> WeightsFiles:
    """List the files that vLLM would load. Raises WeightsError if a file that the index names is missing."""
    if load_format == "auto":
        load_format = "mistral" if has_mistral_weights(folder) else "hf"
    for pattern in _PATTERNS.get(load_format, _SAFETENSORS):
        if found := _matching_files(folder, pattern):
            if pattern.endswith(".safetensors"):
                return WeightsFiles(_files_of_index(folder, found, load_format), True)
            return WeightsFiles(tuple(file for file in found if not file.name.endswith(_TRAINING_FILES)), False)
    if load_format == "hf" and (folder / INDEX).is_file():
        _files_of_index(folder, [], load_format)  # raises an error that names the missing file
    return WeightsFiles((), True)


def _matching_files(folder: Path, pattern: str) -> list[Path]:
    """List the files that match, like the module glob: no hidden files."""
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    return [folder / name for name in names if fnmatch(name, pattern)]


def _files_of_index(folder: Path, found: list[Path], load_format: str) -> tuple[Path, ...]:
    index = folder / (_MISTRAL_INDEX if load_format == "mistral" else INDEX)
    if not index.is_file():
        if load_format == "mistral":
            return tuple(found)
        # Without an index, vLLM also reads Mistral's second copy of the weights, into the same memory.
        return tuple(file for file in found if not fnmatch(file.name, _MISTRAL)) or tuple(found)
    shards = _shards(index)
    missing = [name for name in shards if folder / name not in found]
    if missing:
        raise WeightsError(
            msg(
                "{missing} of {total} weights files are missing in {folder}: {files}{more}.",
                missing=len(missing),
                total=len(shards),
                folder=folder,
                files=", ".join(missing[:3]),
                more=" ..." if len(missing) > 3 else "",
            ),
            "Copy or download them again.",
        )
    return tuple(folder / name for name in shards)


def _shards(index: Path) -> list[str]:
    content = Section(content=read_object(index), file=index)
    weights = content.section("weight_map")
    if weights is None or not weights.content:
        raise content.invalid_value("weight_map", "It has to be an object that names files.")
    return sorted({weights.string(name) or "" for name in weights.content})
