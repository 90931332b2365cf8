"""The fingerprint of a model's folder, which shows that its files were replaced by others."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .weights_files import is_junk

_SUFFIXES = (
    *(".json", ".jinja", ".model", ".py", ".spm", ".tiktoken", ".txt"),
    *(".bin", ".pt", ".safetensors"),
)
"""Of configuration, tokenizers, chat templates, a model's own code, and weights. Not of its pages and pictures."""


@dataclass(frozen=True, slots=True)
class FolderFingerprint:
    """Size in bytes and modification time in nanoseconds of each file that an engine may read, by its name."""

    folder: Path
    """As the user has given it: it may be a link, which may later lead to another folder."""
    files: Mapping[str, tuple[int, int]]
    """Empty if the folder cannot be read."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read names, sizes and times, and no file. Subfolders are not searched, like by vLLM."""
        files = {}
        try:
            for entry in os.scandir(folder):
                if entry.name.endswith(_SUFFIXES) and not is_junk(Path(entry.name)) and entry.is_file():
                    state = entry.stat()
                    files[entry.name] = state.st_size, state.st_mtime_ns
        except OSError:
            return cls(folder, {})
        return cls(folder, files)

    def again(self) -> Self:
        """The fingerprint that the same folder has now."""
        return self.of(self.folder)

    def changed_files(self, current: Self) -> list[str]:
        """The names of the files that differ in `current`; none if that has no file, or is of another folder."""
        if current.folder != self.folder or not current.files:
            return []
        names = sorted(self.files.keys() | current.files.keys())
        return [name for name in names if self.files.get(name) != current.files.get(name)]
