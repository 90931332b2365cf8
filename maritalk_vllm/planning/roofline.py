"""How long one step of the engine takes: by what a card's maker promises, and how much of that is reached. Pure.

A step reads all weights once, whatever it computes; it computes each of its tokens; it reads the KV cache of all that
run. The first two happen at the same time, so that the longer one counts.
"""

from dataclasses import dataclass

from ..errors import UsageError
from ..hardware.gpu_catalog import Card
from ..hardware.interconnect import Link
from ..models.architecture import BLOCK_TOKENS, BYTES
from ..models.memory_footprint import MemoryFootprint, llama_footprint
from .memory_estimate import Parallelism

LINK_BYTES = {Link.NVLINK: 300e9, Link.NODE: 32e9}
"""Bytes a second in one direction, rather few: NVLink of an A100 (its data sheet: 600 GB/s in both), PCIe 4.0 x16."""

_SYNC_SECONDS = {Link.NVLINK: 15e-6, Link.NODE: 40e-6}
"""Of one all-reduce of next to nothing: an estimate. A layer has two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Shares of what data sheets promise, and the seconds of a step that are neither reading nor computing.

    Estimates, not measured here: of vLLM it is told that it reads with 0.6 to 0.85 of a card's bandwidth where answers
    are made, and computes prompts with 0.4 to 0.6 of its operations.
    """

    memory: float = 0.7
    compute: float = 0.5
    link: float = 0.6
    step: float = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """Seconds. A step takes `fixed`, the longer of `weights` and `compute` a token, and on top of these so much for
    each `token` that it computes, each `sequence` that it samples and each token of `context` that it looks at.

    `request` is what a client waits for beside the engine, once a request.
    """

    fixed: float
    weights: float = 0.0
    compute: float = 0.0
    token: float = 0.0
    sequence: float = 0.0
    context: float = 0.0
    request: float = 0.0

    def seconds(self, tokens: int, sequences: int, context: int) -> float:
        """Of a step that computes `tokens` for `sequences` that have `context` tokens in all."""
        return (
            self.fixed
            + max(self.weights, self.compute * tokens)
            + self.token * tokens
            + self.sequence * sequences
            + self.context * context
        )


def roofline(
    footprint: MemoryFootprint, degrees: Parallelism, card: Card, efficiency: Efficiency, context: int
) -> StepCost:
    """A step on cards of this kind, for requests that have some `context` tokens at their middle.

    The stages of a pipeline are counted one after the other. Raises UsageError for a card whose speed is not known.
    """
    if card.bandwidth is None or card.flops is None:
        raise UsageError(
            f"The table has no speed of {card.short_name}.",
            "Measure a server on one with `maritalk-vllm bench --out FILE`, and give --measured FILE.",
        )
    shape, tensor = footprint.shape, degrees.tensor
    bandwidth, flops = card.bandwidth * efficiency.memory, card.flops * efficiency.compute * tensor
    attention = 4 * shape.layers * shape.attention_heads * shape.head_size * context
    synchronised, sent = 0.0, 0.0
    if tensor > 1:
        synchronised = 2 * shape.layers * _SYNC_SECONDS[card.link]
        # A ring sends and receives each number almost twice.
        copies = 2 * (tensor - 1) / tensor
        numbers = 2 * shape.layers * shape.hidden_size * copies
        sent = numbers * BYTES[shape.dtype] / (LINK_BYTES[card.link] * efficiency.link)
    return StepCost(
        fixed=efficiency.step * degrees.pipeline + synchronised,
        weights=read_bytes(footprint) / tensor / bandwidth,
        compute=(2 * parameters(footprint) + attention) / flops,
        token=sent,
        context=context_bytes(footprint, tensor, context) / bandwidth,
    )


def read_bytes(footprint: MemoryFootprint) -> int:
    """Weights that a step reads: all but a table of which it looks up single rows."""
    looked_up = footprint.input_bytes if footprint.output_bytes else 0
    return footprint.weights_bytes - looked_up


def parameters(footprint: MemoryFootprint) -> int:
    """Numbers that a token is multiplied with. What a quantised model has is told by its shape."""
    shape = footprint.shape
    if shape.quantization is None:
        return read_bytes(footprint) // BYTES[shape.dtype]
    return read_bytes(llama_footprint(shape, tied=not footprint.output_bytes)) // BYTES[shape.dtype]


def context_bytes(footprint: MemoryFootprint, tensor: int, context: int) -> float:
    """KV cache that each card reads for one token of a context so long."""
    blocks = max(1, context // BLOCK_TOKENS) * BLOCK_TOKENS
    shape = footprint.shape
    return shape.kv_cache_bytes(blocks, tensor_parallel_size=tensor, in_flight=0, dtype=shape.dtype) / blocks
