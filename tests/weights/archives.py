"""Archives of a small model."""

import os
import tarfile
from pathlib import Path

from tests.models import files


def model(folder: Path, size: int = 200_000) -> Path:
    """A folder with a model whose weights are `size` random bytes, so that misplaced bytes are detected."""
    files.model(folder, {"model.layers.0.mlp.down_proj.weight": ("U8", [size // 64, 64])})
    weights = folder / "model.safetensors"
    with weights.open("r+b") as opened:
        opened.seek(-(size // 64 * 64), os.SEEK_END)
        opened.write(os.urandom(size // 64 * 64))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def tar(folder: Path, file: Path, mode: str = "w") -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, arcname=folder.name)
    return file


def content(folder: Path) -> dict[str, bytes]:
    """The content of every file in `folder`, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
