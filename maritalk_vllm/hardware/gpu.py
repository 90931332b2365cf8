"""One GPU, as its driver describes it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU. Memory in bytes; `compute_capability` as (major, minor)."""

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    compute_capability: tuple[int, int]
