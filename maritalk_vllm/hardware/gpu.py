"""GPUs and MIG instances, as their driver describes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU. `name` and `memory_bytes` are None where the driver does not tell."""

    pid: int
    name: str | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """What CUDA takes for a device. Memory in bytes; `compute_capability` as (major, minor).

    `index` is the GPU's number in nvidia-smi. A MIG instance has its own memory and `parent_uuid`, and the index of
    the GPU that it is a part of. An integrated GPU (GB10, Jetson) has no memory but the host's.
    """

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    compute_capability: tuple[int, int]
    holders: tuple[GpuProcess, ...] = ()
    parent_uuid: str | None = None
    is_integrated: bool = False

    @property
    def is_mig_instance(self) -> bool:
        """Whether this is a part of a GPU, which CUDA lets no process combine with another."""
        return self.parent_uuid is not None


@dataclass(frozen=True, slots=True)
class Driver:
    """Versions as the driver tells them, such as `570.86.15` and the newest CUDA that it runs, such as (12, 8)."""

    version: str
    cuda_version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A GPU that is there and cannot be used, and why. `uuid` is None where the driver does not tell even that."""

    index: int
    uuid: str | None
    reason: str
