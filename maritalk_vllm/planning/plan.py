"""The plan: how a model will be served. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from ..hardware.gpu import Gpu
from ..settings import Device
from .candidate import Parallelism
from .gpu_selection import RejectedGpu

SLOW_TOKENS_PER_SECOND = 5
"""An answer with fewer tokens a second appears more slowly than most people read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on all GPUs together, each counted like the fullest one, and `per_gpu_bytes` on the fullest. On a CPU: RAM.

    The overhead is an estimate.
    """

    weights_bytes: int = 0
    kv_cache_bytes: int = 0
    overhead_bytes: int = 0
    per_gpu_bytes: int = 0


class Outcome(StrEnum):
    """Result of the memory check."""

    FITS = "fits"
    DOES_NOT_FIT = "does_not_fit"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes in bytes, lengths in tokens; None leaves a value to vLLM, or means that it is unknown.

    `gpus` are in the order of vLLM's ranks. On a CPU, `cores` are those of each worker, `kv_cache_bytes` is the size
    passed to vLLM for each worker, and `host_memory_available_bytes` is the RAM into which everything has to fit.
    `max_concurrency` is the number of users at full context, over all replicas. `tokens_per_second` is an estimate of
    what a single user gets at most, only on a CPU. With several `nodes`, the GPUs, cores
    and available memory are those of one node, the others are assumed to be identical, and `memory` is the total of all
    nodes. `split` is a sentence that says how many GPUs are used, and why. `measured` is one about a KV cache that was
    measured and not estimated, empty if it was not. `checked` is false if the memory could not
    be checked. `length_known` is false if neither the user nor the model gives the context length: `max_model_len` is
    then the length that the plan assumed, and vLLM chooses its own.
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
    tokens_per_second: float | None = None
    split: str = ""
    measured: str = ""
    checked: bool = True
    considered: tuple[str, ...] = ()
    adjustments: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Whether the model fits, or could not be checked."""
        return Outcome.FITS if self.checked else Outcome.NOT_CHECKED

    @property
    def is_slow(self) -> bool:
        """Whether the model is large for this CPU, by the estimate of its speed."""
        return self.tokens_per_second is not None and self.tokens_per_second < SLOW_TOKENS_PER_SECOND

    def is_as_good_as(self, other: "Plan") -> bool:
        """Whether this plan, perhaps on other GPUs of the same kind, has the split and the context of `other`.

        The KV cache may be smaller by a twentieth, as is usual between GPUs of one machine.
        """

        def properties(plan: Plan) -> tuple[object, ...]:
            split = (plan.parallelism, plan.data_parallel_size, [gpu.name for gpu in plan.gpus])
            return (*split, plan.dtype, plan.max_model_len)

        enough = 0.95 * (other.kv_cache_tokens or 0)
        return properties(self) == properties(other) and (self.kv_cache_tokens or 0) >= enough

    @property
    def parallelism(self) -> Parallelism:
        """Split of each replica."""
        return Parallelism(self.tensor_parallel_size, self.pipeline_parallel_size)

    @property
    def workers(self) -> int:
        """Number of worker processes on all nodes: one per GPU."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def workers_per_node(self) -> int:
        """Number of worker processes on each node."""
        return self.workers // self.nodes
