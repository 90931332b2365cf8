"""GPUs and MIG instances, as the driver reports them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds GPU memory. `name` and `memory_bytes` are None if the driver does not report them."""

    pid: int
    name: str | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class Gpu:
    """A CUDA device. Memory in bytes; `compute_capability` as (major, minor).

    `index` is the GPU's number in nvidia-smi. A MIG instance has its own memory, a `parent_uuid`, and the index of its
    parent GPU. An integrated GPU (GB10, Jetson) has no memory of its own, but uses the host's. `processes` are those
    that hold its memory.
    """

    index: int
    uuid: str
    name: str
    memory_total_bytes: int
    memory_free_bytes: int
    compute_capability: tuple[int, int]
    processes: tuple[GpuProcess, ...] = ()
    parent_uuid: str | None = None
    is_integrated: bool = False

    @property
    def is_mig_instance(self) -> bool:
        """Whether this is a MIG instance. CUDA lets no process combine one with another device."""
        return self.parent_uuid is not None


@dataclass(frozen=True, slots=True)
class Driver:
    """Version of the driver, such as `570.86.15`, and the newest CUDA that it supports, such as (12, 8)."""

    version: str
    cuda_version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class UnusableGpu:
    """A GPU that is present but cannot be used, and the reason. `uuid` is None if the driver does not report it."""

    index: int
    uuid: str | None
    reason: str
