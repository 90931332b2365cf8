"""The demo model's source, and making its checkpoint without a word."""

import hashlib
import os
import shutil
from importlib.metadata import version
from pathlib import Path

from maritalk_vllm import models
from maritalk_vllm.models import demo
from maritalk_vllm.models.profile import Embedded, Profile, find

_found = find("demo")
assert _found is not None and _found.embedded is not None
PROFILE: Profile = _found
EMBEDDED: Embedded = _found.embedded


def quietly(step: str, fraction: float) -> None:
    pass


def make(checkpoint: Path) -> None:
    demo.materialise(EMBEDDED, checkpoint, quietly)


def made_by() -> str:
    """A name for what the checkpoint is made of, and by."""
    parts = [EMBEDDED.sha256, *(f"{name} {version(name)}" for name in ("torch", "transformers", "gguf"))]
    parts += [file.read_text() for file in sorted(Path(models.__file__).parent.glob("*.py"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def link_or_copy(source: str, target: str) -> None:
    """Nobody writes into a checkpoint: on one disk, two folders may have the same files."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
