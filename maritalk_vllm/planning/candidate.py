"""A candidate for a plan: a split of the model, and the memory that it takes on one GPU. Pure.

Weights and KV cache are computed exactly. The rest, which vLLM measures when it starts, is estimated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from ..hardware.gpu import Gpu
from ..i18n.message import joined, msg
from ..models.memory_footprint import MemoryFootprint
from .batch_limits import default_batch_limits
from .gpu_selection import describe_nodes
from .memory_overhead import context_bytes, driver_bytes, overhead_bytes
from .model_requirements import ModelRequirements

DEFAULT_GPU_MEMORY_UTILIZATION = 0.92
"""vLLM's own default; tests/engine/test_contract.py compares the two."""

SERVER_RAM_BYTES = 2 * 10**9
"""RAM of our processes and vLLM's, without the workers."""

WORKER_RAM_BYTES = 3 * 10**9
"""RAM of a worker: CUDA's libraries and context, pinned buffers. The kernel can evict the weights, which are mapped."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """Split of one replica: over `tensor` x `pipeline` GPUs."""

    tensor: int
    pipeline: int

    @classmethod
    def requested(cls, requirements: ModelRequirements) -> Self:
        """The sizes that the user asked for; by default one GPU on each node."""
        return cls(requirements.tensor_parallel_size or 1, requirements.pipeline_parallel_size or requirements.nodes)

    @property
    def gpu_count(self) -> int:
        """Number of GPUs of one replica."""
        return self.tensor * self.pipeline

    def describe(self, gpu_name: str, nodes: int) -> str:
        """A replica on GPUs of this name, such as `2 x NVIDIA A10 (1 tensor x 2 pipeline parallel)`."""
        gpus = describe_nodes(nodes, self.gpu_count // nodes, gpu_name)
        if self.pipeline == 1:
            return gpus
        sizes = msg(" ({tensor} tensor x {pipeline} pipeline parallel)", tensor=self.tensor, pipeline=self.pipeline)
        return joined("", (gpus, sizes))

    def is_even(self, nodes: int) -> bool:
        """Whether all nodes have the same number of workers, and each holds whole stages or part of a single one."""
        per_node, rest = divmod(self.gpu_count, nodes)
        return not rest and (per_node % self.tensor == 0 or self.tensor % per_node == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One replica, split by `parallelism` over GPUs like `gpu`, and the memory that it takes on `gpu`. See `assess`.

    All bytes are those of this one GPU. vLLM may use `budget_bytes`, a share of the memory that CUDA shows, and
    `usable_bytes` are free. `kv_cache_bytes` of the budget remain for the KV cache, and are negative if even weights
    and overhead need more. `request_bytes` gives the KV cache of a request by its tokens; `min_kv_cache_bytes` is that
    of the shortest context with which a plan is accepted. Without it the candidate does not fit, and lacks
    `shortfall_bytes`.
    """

    requirements: ModelRequirements
    parallelism: Parallelism
    gpu: Gpu
    gpu_memory_utilization: float
    usable_bytes: int
    budget_bytes: int
    weights_bytes: int
    overhead_bytes: int
    kv_cache_bytes: int
    min_kv_cache_bytes: int
    shortfall_bytes: int
    request_bytes: Callable[[int], int] = field(repr=False, compare=False)

    @property
    def fits(self) -> bool:
        """Whether the GPU holds its share of the model, and the minimum KV cache."""
        return self.shortfall_bytes == 0

    @property
    def title(self) -> str:
        """The GPUs of the replica, such as `2 x NVIDIA A10`."""
        return self.parallelism.describe(self.gpu.name, self.requirements.nodes)


def assess(
    requirements: ModelRequirements,
    footprint: MemoryFootprint,
    parallelism: Parallelism,
    gpu: Gpu,
    *,
    nvlink: bool = False,
) -> Candidate:
    """Compute the memory of a split on this GPU, whether it fits or not. `footprint` is that of the requirements.

    `nvlink` says whether such GPUs are linked by NVLink.
    """
    shape, flags, tensor = footprint.shape, requirements.flags, parallelism.tensor
    batch = flags.batch_limits(default_batch_limits(gpu))
    usable = usable_bytes(gpu, tensor, nvlink=nvlink)
    share = utilization(gpu, usable, requirements.gpu_memory_utilization)
    budget = int(share * (gpu.memory_total_bytes - driver_bytes(gpu)))
    weights = footprint.weights_bytes_per_gpu(tensor, parallelism.pipeline)
    weights += flags.adapter_bytes(shape, tensor, parallelism.pipeline)
    overhead = overhead_bytes(shape, batch, tensor, nvlink=nvlink, eager=flags.eager)

    # Only the user can set a budget above the free memory, and vLLM would reject it.
    kv_cache = budget - weights - overhead if budget <= usable else usable - budget
    request_bytes = partial(
        shape.kv_cache_bytes,
        tensor_parallel_size=tensor,
        pipeline_parallel_size=parallelism.pipeline,
        in_flight=batch.tokens,
        dtype=flags.cache_dtype or shape.dtype,
    )
    min_kv_cache = request_bytes(requirements.min_max_len)
    return Candidate(
        requirements=requirements,
        parallelism=parallelism,
        gpu=gpu,
        gpu_memory_utilization=share,
        usable_bytes=usable,
        budget_bytes=budget,
        weights_bytes=weights,
        overhead_bytes=overhead,
        kv_cache_bytes=kv_cache,
        min_kv_cache_bytes=min_kv_cache,
        shortfall_bytes=max(0, min_kv_cache - kv_cache),
        request_bytes=request_bytes,
    )


def utilization(gpu: Gpu, usable: int, requested: float | None) -> float:
    """Share of the GPU's memory that vLLM may use: `requested`, or vLLM's default as far as `usable` bytes allow."""
    if requested is not None:
        return requested
    # By NVML's total, which is at least the total that CUDA reports: the fraction is free of either.
    return max(0.0, min(DEFAULT_GPU_MEMORY_UTILIZATION, math.floor(usable / gpu.memory_total_bytes * 100) / 100))


def usable_bytes(gpu: Gpu, tensor_parallel_size: int, *, nvlink: bool) -> int:
    """Free bytes once CUDA has created its context and, on an integrated GPU, all processes for one worker run."""
    shared = SERVER_RAM_BYTES + WORKER_RAM_BYTES if gpu.is_integrated else 0
    return gpu.memory_free_bytes - context_bytes(tensor_parallel_size, nvlink) - shared
