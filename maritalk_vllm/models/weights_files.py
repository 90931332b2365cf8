"""The files of weights that vLLM would load from a folder, by its own rules (model_loader/default_loader.py, 0.32)."""

import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath

from ..errors import WeightsError
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
"""Of every other format."""

# What a trainer leaves beside the weights.
_OF_TRAINING = ("training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt")
_JUNK = (*_OF_TRAINING, "rng_state*.pth", "Thumbs.db", "desktop.ini")

NO_WEIGHTS = ("dummy",)
"""Load formats that read no weights."""


@dataclass(frozen=True, slots=True)
class WeightsFiles:
    """The files in order, and whether they are safetensors or pickles."""

    files: tuple[Path, ...]
    safetensors: bool


def is_junk(path: PurePath) -> bool:
    """Whether a file is of no use to serve a model: hidden, macOS's own, or what a trainer left behind."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return hidden or any(fnmatch(path.name, pattern) for pattern in _JUNK)


def has_mistral_weights(folder: Path) -> bool:
    """Whether vLLM takes the folder for one in Mistral's own layout: it looks below the folder too."""
    return any(path.is_file() for path in folder.rglob(_MISTRAL))


def weights_files(folder: Path, load_format: str = "auto") -> WeightsFiles:
    """What vLLM would load; no files for none. Raises WeightsError if one that an index names is missing."""
    if load_format == "auto":
        load_format = "mistral" if has_mistral_weights(folder) else "hf"
    for pattern in _PATTERNS.get(load_format, _SAFETENSORS):
        if found := _visible(folder, pattern):
            if pattern.endswith(".safetensors"):
                return WeightsFiles(_of_index(folder, found, load_format), True)
            return WeightsFiles(tuple(file for file in found if not file.name.endswith(_OF_TRAINING)), False)
    if load_format == "hf" and (folder / INDEX).is_file():
        _of_index(folder, [], load_format)  # and say what is missing
    return WeightsFiles((), True)


def _visible(folder: Path, pattern: str) -> list[Path]:
    """As the module glob finds them: no hidden files."""
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    return [folder / name for name in names if fnmatch(name, pattern)]


def _of_index(folder: Path, found: list[Path], load_format: str) -> tuple[Path, ...]:
    index = folder / (_MISTRAL_INDEX if load_format == "mistral" else INDEX)
    if not index.is_file():
        if load_format == "mistral":
            return tuple(found)
        # Without an index vLLM reads Mistral's second copy of the weights too, into the same memory.
        return tuple(file for file in found if not fnmatch(file.name, _MISTRAL)) or tuple(found)
    shards = _shards(index)
    missing = [name for name in shards if folder / name not in found]
    if missing:
        raise WeightsError(
            f"{len(missing)} of {len(shards)} weights files are missing in {folder}: {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''}.",
            "Copy or download them again.",
        )
    return tuple(folder / name for name in shards)


def _shards(index: Path) -> list[str]:
    content = Section(content=read_object(index), file=index)
    weights = content.section("weight_map")
    if weights is None or not weights.content:
        raise content.wrong("weight_map", "It has to be an object that names files.")
    return sorted({weights.word(name) or "" for name in weights.content})
