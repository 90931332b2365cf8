"""Estimate the memory that a model takes on each GPU. Pure.

Weights and KV cache are computed exactly. The rest, which vLLM measures when it starts, is estimated on the high side.
"""

import math
from dataclasses import dataclass

from ..hardware.gpu import Gpu
from ..models.architecture import BYTES
from ..models.memory_footprint import MemoryFootprint
from .memory_flags import Flags

GiB = 1 << 30

DEFAULT_GPU_MEMORY_UTILIZATION = 0.92
"""vLLM's own default; tests/engine/test_contract.py compares the two."""

CUDA_CONTEXT_BYTES = 768 << 20
"""GPU memory of CUDA's context and NCCL's buffers, which vLLM does not count as its own."""

HOST_BYTES = 5 * 10**9
"""RAM of our processes and vLLM's with one worker (planning/host_checks.py)."""

_CUDA_GRAPH_BYTES = 640 << 20
_MARGIN_BYTES = 256 << 20
# CUDA reports less memory than NVML: 0.6 % (H100) to 2.2 % (A10) less, which the driver reserves.
_HIDDEN_SHARE = 0.022
# Tensors alive at once while sampling: logits in float32, their sorted copy, its indices and the probabilities.
_SAMPLER_TENSORS = 4
# Tensors alive at once in a layer, in hidden sizes: residual, normalised input, query, key, value and output.
_LAYER_TENSORS = 8


@dataclass(frozen=True, slots=True)
class Parallelism:
    """How one replica is spread: over `tensor` x `pipeline` GPUs."""

    tensor: int
    pipeline: int

    @property
    def gpu_count(self) -> int:
        """Number of GPUs of one replica."""
        return self.tensor * self.pipeline

    @property
    def text(self) -> str:
        """The sizes, to follow a number of GPUs; empty for tensor parallelism alone."""
        return f" ({self.tensor} tensor x {self.pipeline} pipeline parallel)" if self.pipeline > 1 else ""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """vLLM's limits per step, whose defaults depend on the GPU: tokens computed, and sequences sampled."""

    tokens: int
    sequences: int


CPU_BATCH = BatchLimits(2048, 128)
"""vLLM's limits for each worker on a CPU."""


def batch(gpu: Gpu) -> BatchLimits:
    """The defaults of vLLM's EngineArgs.get_batch_defaults for a server (0.32 and 0.33)."""
    if gpu.memory_total_bytes >= 160 * GiB:
        return BatchLimits(16384, 1024)
    # For a MIG instance, vLLM may see the memory of the whole GPU.
    large = gpu.memory_total_bytes >= 70 * GiB or gpu.is_mig_instance
    if large and "a100" not in gpu.name.lower():
        return BatchLimits(8192, 1024)
    return BatchLimits(2048, 256)


def batch_with(flags: Flags, defaults: BatchLimits) -> BatchLimits:
    """The user's limits per step where set, else `defaults`."""
    return BatchLimits(flags.batched_tokens or defaults.tokens, flags.sequences or defaults.sequences)


def overhead_bytes(footprint: MemoryFootprint, parallelism: Parallelism, gpu: Gpu, flags: Flags) -> int:
    """Bytes of activations, sampling, CUDA graphs and a margin on each GPU."""
    shape, step = footprint.shape, batch_with(flags, batch(gpu))
    width = _LAYER_TENSORS * shape.hidden_size + math.ceil(2 * shape.intermediate_size / parallelism.tensor)
    activations = step.tokens * width * BYTES.get(shape.dtype, 2)
    sampler = step.sequences * shape.vocabulary_size * 4 * _SAMPLER_TENSORS
    hidden = math.ceil(gpu.memory_total_bytes * _HIDDEN_SHARE)
    graphs = 0 if flags.eager else _CUDA_GRAPH_BYTES
    return activations + sampler + graphs + _MARGIN_BYTES + hidden


def utilization(gpu: Gpu, requested: float | None) -> float:
    """Share of the GPU's total memory that vLLM may use: `requested`, or vLLM's default as far as memory is free."""
    if requested is not None:
        return requested
    free = usable_bytes(gpu) / gpu.memory_total_bytes
    return max(0.0, min(DEFAULT_GPU_MEMORY_UTILIZATION, math.floor(free * 100) / 100))


def usable_bytes(gpu: Gpu) -> int:
    """Free bytes once CUDA has created its context and, on an integrated GPU, our processes are running."""
    return gpu.memory_free_bytes - CUDA_CONTEXT_BYTES - (HOST_BYTES if gpu.is_integrated else 0)


def budget_bytes(gpu: Gpu, requested: float | None) -> int:
    """Bytes that vLLM may use for weights, KV cache and the rest. Exceeds `usable_bytes` if the user asks for more."""
    return int(utilization(gpu, requested) * gpu.memory_total_bytes)
