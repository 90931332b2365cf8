"""A model that this program knows by name: what it needs and where its weights come from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Weights that a Python package carries as a GGUF file."""

    package: str
    requirement: str
    file: str
    sha256: str
    checkpoint_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One file of configs/. GB are 10^9 bytes, of a card's total memory as NVML reports it."""

    name: str
    title: str
    devices: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    min_compute_capability: tuple[int, int] = (8, 0)
    gpu_memory_gb: int = 0
    host_memory_gb: int = 0
    tested_gpus: tuple[str, ...] = ()
    max_model_len: int | None = None
    cpu_kv_cache_bytes: int | None = None
    embedded: Embedded | None = None


def profiles() -> dict[str, Profile]:
    """Every profile, by its name."""
    found = [_read(file) for file in sorted(_folder().glob("*.yaml"))]
    return {profile.name: profile for profile in found}


def find(name: str) -> Profile | None:
    """The profile of this name or alias."""
    return next((p for p in profiles().values() if name in (p.name, *p.aliases)), None)


def _folder() -> Path:
    # In a wheel configs/ lies inside the package; in a checkout beside it.
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def _read(file: Path) -> Profile:
    values: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    if embedded := values.pop("embedded", None):
        values["embedded"] = Embedded(**embedded)
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return Profile(**given)
