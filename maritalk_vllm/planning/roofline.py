"""Estimate the duration of an engine step from the GPU's data sheet and the share of it that is reached. Pure.

Of a CPU only the speed of a single user is estimated, from an assumed memory bandwidth.

A step reads all weights once, however many tokens it computes; it computes each of its tokens; and it reads the KV
cache of all running requests. The first two overlap, so the longer one counts.
"""

from dataclasses import dataclass

from ..errors import UsageError
from ..hardware.gpu_catalog import GpuModel
from ..hardware.interconnect import Link
from ..i18n.message import msg
from ..models.architecture import BLOCK_TOKENS, BYTES
from ..models.memory_footprint import MemoryFootprint, llama_footprint
from .candidate import Parallelism

LINK_BYTES = {Link.NVLINK: 300e9, Link.NODE: 32e9}
"""Bytes a second in one direction, on the low side: NVLink of an A100 (data sheet: 600 GB/s in both), PCIe 4.0 x16."""

_CPU_CORE_BANDWIDTH = 10e9
_CPU_BANDWIDTH = 100e9
"""Bytes of memory a second that one core reads, and all cores together: assumptions, on the high side for most CPUs."""

_SYNC_SECONDS = {Link.NVLINK: 15e-6, Link.NODE: 40e-6}
"""Seconds of an all-reduce of almost no data: an estimate. A layer has two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Shares of the data sheet's figures that are reached, and `step`: fixed seconds per step.

    Estimates, not measured here: vLLM is reported to reach 0.6 to 0.85 of a GPU's bandwidth while decoding, and 0.4 to
    0.6 of its operations while computing prompts.
    """

    memory: float = 0.7
    compute: float = 0.5
    link: float = 0.6
    step: float = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """Seconds. A step takes `fixed`, plus the longer of `weights` and `compute` times its tokens, plus `token` for each
    token computed, `sequence` for each sequence sampled, and `context` for each token of context read.

    `request` is the time per request that a client waits outside the engine.
    """

    fixed: float
    weights: float = 0.0
    compute: float = 0.0
    token: float = 0.0
    sequence: float = 0.0
    context: float = 0.0
    request: float = 0.0

    def seconds(self, tokens: int, sequences: int, context: int) -> float:
        """Duration of a step that computes `tokens` tokens for `sequences` sequences with `context` tokens in total."""
        return (
            self.fixed
            + max(self.weights, self.compute * tokens)
            + self.token * tokens
            + self.sequence * sequences
            + self.context * context
        )


def roofline(
    footprint: MemoryFootprint, parallelism: Parallelism, gpu: GpuModel, efficiency: Efficiency, context: int
) -> StepCost:
    """Cost of a step on GPUs of this model, for requests with an average of `context` tokens.

    Pipeline stages are counted one after the other. Raises UsageError for a GPU model of unknown speed.
    """
    if gpu.bandwidth is None or gpu.flops is None:
        raise UsageError(
            msg("The table has no speed of {card}.", card=gpu.short_name),
            "Measure a server on one with `maritalk-vllm bench --out FILE`, and give --measured FILE.",
        )
    shape, tensor = footprint.shape, parallelism.tensor
    bandwidth, flops = gpu.bandwidth * efficiency.memory, gpu.flops * efficiency.compute * tensor
    attention = 4 * shape.layers * shape.attention_heads * shape.head_size * context
    sync_seconds, send_seconds = 0.0, 0.0
    if tensor > 1:
        sync_seconds = 2 * shape.layers * _SYNC_SECONDS[gpu.link]
        # A ring all-reduce sends and receives each number almost twice.
        transfers = 2 * (tensor - 1) / tensor
        numbers = 2 * shape.layers * shape.hidden_size * transfers
        send_seconds = numbers * BYTES[shape.dtype] / (LINK_BYTES[gpu.link] * efficiency.link)
    return StepCost(
        fixed=efficiency.step * parallelism.pipeline + sync_seconds,
        weights=read_bytes(footprint) / tensor / bandwidth,
        compute=(2 * parameters(footprint) + attention) / flops,
        token=send_seconds,
        context=context_bytes(footprint, tensor, context) / bandwidth,
    )


def cpu_tokens_per_second(footprint: MemoryFootprint, cores: int) -> float:
    """Upper bound of a single user's tokens per second where this many cores read the weights for each token."""
    return cpu_bandwidth(cores) / max(1, read_bytes(footprint))


def cpu_bandwidth(cores: int) -> float:
    """Bytes of memory that these cores are assumed to read in a second."""
    return min(_CPU_CORE_BANDWIDTH * cores, _CPU_BANDWIDTH)


def read_bytes(footprint: MemoryFootprint) -> int:
    """Bytes of weights that a step reads: all but an embedding table, whose rows it looks up singly."""
    looked_up = footprint.input_bytes if footprint.output_bytes else 0
    return footprint.weights_bytes - looked_up


def parameters(footprint: MemoryFootprint) -> int:
    """Number of parameters that each token is multiplied with. For a quantised model, computed from its shape."""
    shape = footprint.shape
    if shape.quantization is None:
        return read_bytes(footprint) // BYTES[shape.dtype]
    return read_bytes(llama_footprint(shape, tied=not footprint.output_bytes)) // BYTES[shape.dtype]


def context_bytes(footprint: MemoryFootprint, tensor: int, context: int) -> float:
    """KV cache bytes that each GPU reads per token of a context of this length."""
    blocks = max(1, context // BLOCK_TOKENS) * BLOCK_TOKENS
    shape = footprint.shape
    return shape.kv_cache_bytes(blocks, tensor_parallel_size=tensor, in_flight=0, dtype=shape.dtype) / blocks
