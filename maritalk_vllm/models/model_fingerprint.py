"""The fingerprint of the files that an engine reads, which shows that they were replaced by others."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

from .weights_files import is_junk

_State: TypeAlias = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""

_SUFFIXES = (
    *(".json", ".jinja", ".model", ".py", ".spm", ".tiktoken", ".txt"),
    *(".bin", ".pt", ".safetensors"),
)
"""Of configuration, tokenizers, chat templates, a model's own code, and weights. Not of its pages and pictures."""


@dataclass(frozen=True, slots=True)
class ModelFingerprint:
    """The states of the files in the model's folder, and in other places that the engine reads."""

    places: Mapping[Path, Mapping[str, _State]]
    """The states by file name of each folder or single file, empty for a place that cannot be read; the model's first.

    The paths are as the user has given them: they may be links, which may later lead elsewhere.
    """

    @classmethod
    def of(cls, places: Sequence[Path]) -> Self:
        """Read names, sizes and times, and no file. Subfolders are not searched, like by vLLM."""
        return cls({place: _states(place) for place in places})

    def again(self) -> Self:
        """The fingerprint that the same places have now."""
        return self.of(list(self.places))

    def changed_files(self, current: Self) -> list[str]:
        """Names in the model's folder and paths elsewhere of the files that differ in `current`.

        A place from which all files were removed does not count, like one that `current` does not have.
        """
        changed = []
        for number, (place, before) in enumerate(self.places.items()):
            if now := current.places.get(place):
                names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
                changed += [_shown(place, name) if number else name for name in names]
        return changed


def _states(place: Path) -> dict[str, _State]:
    try:
        if place.is_file():
            return {place.name: _state(place.stat())}
        return {
            entry.name: _state(entry.stat())
            for entry in os.scandir(place)
            if entry.name.endswith(_SUFFIXES) and not is_junk(Path(entry.name)) and entry.is_file()
        }
    except OSError:
        return {}


def _state(file: os.stat_result) -> _State:
    return file.st_size, file.st_mtime_ns


def _shown(place: Path, name: str) -> str:
    return str(place if place.name == name else place / name)
