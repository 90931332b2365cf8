"""The demo model's source, and how its checkpoint is made without progress output."""

import hashlib
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import platformdirs

from maritalk_vllm.models import atomic_install, demo_model
from maritalk_vllm.models.profile import Embedded, Profile, find

_found = find("demo")
assert _found is not None and _found.embedded is not None
PROFILE: Profile = _found
CHECKPOINTS = platformdirs.user_cache_path("maritalk-vllm-tests") / "demo"
"""Where tests keep the model: outside the checkout, so that all checkouts of this machine share it."""

EMBEDDED: Embedded = _found.embedded


def quietly(step: str, fraction: float) -> None:
    pass


def make(checkpoint: Path) -> None:
    demo_model.materialise(EMBEDDED, checkpoint, quietly)


def fingerprint() -> str:
    """Hash the checkpoint's source, and the code and the libraries that convert it."""
    parts = [EMBEDDED.sha256, *(f"{name} {version(name)}" for name in ("torch", "transformers", "gguf"))]
    parts += [Path(module.__file__ or "").read_text() for module in (demo_model, atomic_install)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def link_or_copy(source: str, target: str) -> None:
    """Link where both are on one disk: nothing writes into a checkpoint, so that folders can share its files."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
