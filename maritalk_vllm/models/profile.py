"""Profiles: models known by name, with their requirements and the source of their weights."""

from dataclasses import dataclass
from typing import Any

from .. import config_files
from .architecture import ModelArchitecture
from .memory_footprint import MemoryFootprint

MIN_COMPUTE_CAPABILITY = (8, 0)
"""Requirement of the MariTalk Local document; also used for models without a profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Weights that are embedded in a Python package as a GGUF file."""

    package: str
    requirement: str
    file: str
    sha256: str
    checkpoint_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One file of configs/. A GB is 10^9 bytes; GPU memory is the total that NVML reports.

    `shape` and `weights_bytes` are used while the weights are not on this machine. `tool_call_parser` is vLLM's name
    for the format of the model's tool calls, if it makes any.
    """

    name: str
    title: str
    devices: tuple[str, ...]
    shape: ModelArchitecture
    weights_bytes: int
    aliases: tuple[str, ...] = ()
    min_compute_capability: tuple[int, int] = MIN_COMPUTE_CAPABILITY
    gpu_memory_gb: int = 0
    host_memory_gb: int = 0
    tested_gpus: tuple[str, ...] = ()
    max_model_len: int | None = None
    cpu_kv_cache_bytes: int | None = None
    tool_call_parser: str | None = None
    embedded: Embedded | None = None

    @property
    def footprint(self) -> MemoryFootprint:
        """The footprint to use until the weights are on this machine."""
        return MemoryFootprint(shape=self.shape, split_bytes=self.weights_bytes)


def profiles() -> dict[str, Profile]:
    """All profiles by name."""
    return {name: _read(name) for name in config_files.names() if name != "gpus"}


def find(name: str) -> Profile | None:
    """The profile with this name or alias; None if there is none."""
    return next((p for p in profiles().values() if name in (p.name, *p.aliases)), None)


def _read(name: str) -> Profile:
    values: dict[str, Any] = config_files.read(name)
    for key, kind in (("embedded", Embedded), ("shape", ModelArchitecture)):
        if key in values:
            values[key] = kind(**values[key])
    fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return Profile(**fields)
