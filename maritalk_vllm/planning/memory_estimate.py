"""What a model asks of each card. Pure.

Weights and KV cache are sums. The rest, which vLLM measures when it starts, is estimated here, rather too high.
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

CONTEXT_BYTES = 768 << 20
"""What CUDA's context and NCCL's buffers take of a card, beside what vLLM counts as its own."""

HOST_BYTES = 5 * 10**9
"""What our processes and vLLM's take of the host's memory with one worker (planning/host_checks.py)."""

_CUDA_GRAPH_BYTES = 640 << 20
_MARGIN_BYTES = 256 << 20
# CUDA shows less of a card than NVML: 0.6 % (H100) to 2.2 % (A10) less, which the driver keeps for itself.
_HIDDEN_SHARE = 0.022
# Logits in float32, their sorted copy, its indices and the probabilities: what sampling holds at once.
_SAMPLER_COPIES = 4
# Residual, normalised input, query, key, value and output: what one layer holds at once, in hidden sizes.
_LAYER_COPIES = 8


@dataclass(frozen=True, slots=True)
class Parallelism:
    """How one copy of a model is spread: `tensor` x `pipeline` cards."""

    tensor: int
    pipeline: int

    @property
    def cards(self) -> int:
        """Cards that one copy takes."""
        return self.tensor * self.pipeline

    @property
    def text(self) -> str:
        """How, as an addition to the number of cards; nothing for tensor parallelism alone."""
        return f" ({self.tensor} tensor x {self.pipeline} pipeline parallel)" if self.pipeline > 1 else ""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """vLLM's own limits of one step, which it takes from the card: tokens computed, and sequences sampled."""

    tokens: int
    sequences: int


CPU_BATCH = BatchLimits(2048, 128)
"""The same for each worker on a CPU."""


def batch(gpu: Gpu) -> BatchLimits:
    """As vLLM's EngineArgs.get_batch_defaults chooses for a server (0.32 and 0.33)."""
    if gpu.memory_total_bytes >= 160 * GiB:
        return BatchLimits(16384, 1024)
    # For a MIG instance vLLM may see the memory of the whole GPU.
    large = gpu.memory_total_bytes >= 70 * GiB or gpu.is_mig_instance
    if large and "a100" not in gpu.name.lower():
        return BatchLimits(8192, 1024)
    return BatchLimits(2048, 256)


def batch_with(flags: Flags, own: BatchLimits) -> BatchLimits:
    """The limits of a step where the user may have set them."""
    return BatchLimits(flags.batched_tokens or own.tokens, flags.sequences or own.sequences)


def overhead_bytes(footprint: MemoryFootprint, degrees: Parallelism, gpu: Gpu, flags: Flags) -> int:
    """Activations, CUDA graphs and a margin, on each card."""
    shape, step = footprint.shape, batch_with(flags, batch(gpu))
    width = _LAYER_COPIES * shape.hidden_size + math.ceil(2 * shape.intermediate_size / degrees.tensor)
    activations = step.tokens * width * BYTES.get(shape.dtype, 2)
    sampler = step.sequences * shape.vocabulary_size * 4 * _SAMPLER_COPIES
    hidden = math.ceil(gpu.memory_total_bytes * _HIDDEN_SHARE)
    graphs = 0 if flags.eager else _CUDA_GRAPH_BYTES
    return activations + sampler + graphs + _MARGIN_BYTES + hidden


def utilization(gpu: Gpu, wish: float | None) -> float:
    """The share of a card's total that vLLM may take: the user's, or its own default as far as memory is free."""
    if wish is not None:
        return wish
    free = usable_bytes(gpu) / gpu.memory_total_bytes
    return max(0.0, min(DEFAULT_GPU_MEMORY_UTILIZATION, math.floor(free * 100) / 100))


def usable_bytes(gpu: Gpu) -> int:
    """What is free on a card once CUDA has made its context, and on an integrated one once our processes are there."""
    return gpu.memory_free_bytes - CONTEXT_BYTES - (HOST_BYTES if gpu.is_integrated else 0)


def budget_bytes(gpu: Gpu, wish: float | None) -> int:
    """What vLLM may take of a card: weights, KV cache and the rest. More than is usable if the user asks for that."""
    return int(utilization(gpu, wish) * gpu.memory_total_bytes)
