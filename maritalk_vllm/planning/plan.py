"""How a model will be served: what the engine is told, and what people are told of it. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from ..hardware.gpu import Gpu
from ..settings import Device
from .gpu_selection import RejectedGpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of all cards together, counted as full as the fullest, and of that one alone. On a CPU, of RAM.

    The overhead is an estimate.
    """

    weights_bytes: int = 0
    kv_cache_bytes: int = 0
    overhead_bytes: int = 0
    per_gpu_bytes: int = 0


class Outcome(StrEnum):
    """What a plan says of the memory."""

    FITS = "fits"
    DOES_NOT_FIT = "does_not_fit"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes in bytes, lengths in tokens; None leaves a value to vLLM, or says that it cannot be told.

    `gpus` come in the order of vLLM's ranks. On a CPU, `cores` are those of each worker, `kv_cache_bytes` is what vLLM
    is told to take for each, and `host_memory_available_bytes` is what all of it has to fit into. `max_concurrency`
    counts users at full context, in all copies together. With several `nodes`, cards, cores and what is available are
    those of one, and the others are taken to be like it; `memory` is that of all. `split` says how many of the GPUs are
    taken, and why. `checked` says whether the memory was: where it is not, the plan says nothing about it. Without
    `length_known`, no user set the context and the model does not say its own: `max_model_len` is what was counted, and
    vLLM chooses.
    """

    model: str
    title: str
    device: Device
    dtype: str
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    nodes: int = 1
    gpus: tuple[Gpu, ...] = ()
    rejected: tuple[RejectedGpu, ...] = ()
    cores: tuple[tuple[int, ...], ...] = ()
    memory: Memory = Memory()
    host_memory_available_bytes: int | None = None
    gpu_memory_utilization: float | None = None
    max_model_len: int | None = None
    length_known: bool = True
    kv_cache_bytes: int | None = None
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    split: str = ""
    checked: bool = True
    considered: tuple[str, ...] = ()
    adjustments: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Whether it fits, or nobody can say."""
        return Outcome.FITS if self.checked else Outcome.NOT_CHECKED

    @property
    def workers(self) -> int:
        """Processes that compute, one a card, on all nodes."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def workers_here(self) -> int:
        """Those of one node."""
        return self.workers // self.nodes
