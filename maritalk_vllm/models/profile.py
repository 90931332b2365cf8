"""A model that this program knows by name: what it needs and where its weights come from."""

from dataclasses import dataclass
from typing import Any

from .. import config_files
from .architecture import ModelArchitecture
from .memory_footprint import MemoryFootprint

MIN_COMPUTE_CAPABILITY = (8, 0)
"""What the MariTalk Local document asks for; also for models without a profile."""


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
    """One file of configs/. GB are 10^9 bytes, of a card's total memory as NVML reports it.

    `shape` and `weights_bytes` stand for the weights as long as they are not on this machine. `tool_call_parser` is
    vLLM's name for the form in which the model calls tools, if it does.
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
        """What is known before the weights are here."""
        return MemoryFootprint(shape=self.shape, split_bytes=self.weights_bytes)


def profiles() -> dict[str, Profile]:
    """Every profile, by its name."""
    return {name: _read(name) for name in config_files.names() if name != "gpus"}


def find(name: str) -> Profile | None:
    """The profile of this name or alias."""
    return next((p for p in profiles().values() if name in (p.name, *p.aliases)), None)


def _read(name: str) -> Profile:
    values: dict[str, Any] = config_files.read(name)
    for key, kind in (("embedded", Embedded), ("shape", ModelArchitecture)):
        if key in values:
            values[key] = kind(**values[key])
    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
    return Profile(**given)
