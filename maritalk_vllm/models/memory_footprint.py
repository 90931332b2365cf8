"""Memory of a model's weights, and how it divides over GPUs."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from ..i18n.message import msg
from .architecture import BYTES, ModelArchitecture, biggest_stage

_VOCABULARY_PADDING = 64
"""vLLM pads the vocabulary to a multiple of this before it splits it (vocab_parallel_embedding.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFootprint:
    """Bytes of the loaded weights, summed over all layers, and the model's shape.

    Tensor parallelism divides `split_bytes` and `key_value_bytes` (the latter at most by the number of KV heads), and
    replicates `whole_bytes` (norms, routers) on every GPU. `input_bytes` (embedding) are on the first pipeline stage
    and `output_bytes` (head) on the last. `exact` says whether the sizes were read from the weights themselves.
    """

    shape: ModelArchitecture
    split_bytes: int
    key_value_bytes: int = 0
    whole_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    exact: bool = False

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights on a single GPU."""
        return self.weights_bytes_per_gpu(1, 1)

    def weights_bytes_per_gpu(self, tensor_parallel_size: int, pipeline_parallel_size: int) -> int:
        """Bytes of weights on the fullest GPU."""
        tp, stages = tensor_parallel_size, pipeline_parallel_size
        heads = max(1, min(tp, self.shape.key_value_heads))
        layers = self.split_bytes / tp + self.key_value_bytes / heads + self.whole_bytes
        if stages == 1:
            return math.ceil(layers + (self.input_bytes + self.output_bytes) / tp)
        stage = layers * biggest_stage(self.shape.layers, stages) / max(1, self.shape.layers)
        return math.ceil(stage + max(self.input_bytes, self.output_bytes) / tp)

    def served_as(self, dtype: str) -> Self:
        """The footprint in another dtype. The weights of a quantised model do not change."""
        if self.shape.quantization is not None:
            return replace(self, shape=replace(self.shape, dtype=dtype))
        factor = BYTES[dtype] / BYTES[self.shape.dtype]
        sizes = ("split_bytes", "key_value_bytes", "whole_bytes", "input_bytes", "output_bytes")
        cast: dict[str, Any] = {name: int(getattr(self, name) * factor) for name in sizes}
        return replace(self, shape=replace(self.shape, dtype=dtype), **cast)

    def why_not_divisible(self, tensor_parallel_size: int) -> str:
        """Why vLLM cannot use this tensor-parallel size; an empty string if it can."""
        tp, shape = tensor_parallel_size, self.shape
        if tp == 1:
            return ""
        if not shape.attention_heads or shape.attention_heads % tp:
            return msg(
                "{tp} does not divide its {attention_heads} attention heads",
                tp=tp,
                attention_heads=shape.attention_heads,
            )
        if shape.key_value_heads % tp and tp % shape.key_value_heads:
            return msg(
                "{tp} and its {key_value_heads} KV heads do not divide each other",
                tp=tp,
                key_value_heads=shape.key_value_heads,
            )
        if padded_vocabulary(shape.vocabulary_size) % tp:
            return msg(
                "{tp} does not divide its padded vocabulary of {padded_vocabulary}",
                tp=tp,
                padded_vocabulary=padded_vocabulary(shape.vocabulary_size),
            )
        if shape.quantization_block > 1 and shape.intermediate_size % (tp * shape.quantization_block):
            return msg(
                "{tp} does not divide its MLP of {intermediate_size} into whole blocks of {block} quantized weights",
                tp=tp,
                intermediate_size=shape.intermediate_size,
                block=shape.quantization_block,
            )
        return ""

    def tensor_parallel_sizes(self, gpu_count: int) -> list[int]:
        """Tensor-parallel sizes up to `gpu_count` that the model allows."""
        largest = min(gpu_count, max(1, self.shape.attention_heads))
        return [size for size in range(1, largest + 1) if not self.why_not_divisible(size)]


def llama_footprint(shape: ModelArchitecture, *, tied: bool) -> MemoryFootprint:
    """Footprint of a Llama: attention, a gated MLP and two norms per layer. `tied`: the head is the embedding."""
    attention = 2 * shape.hidden_size * shape.attention_heads * shape.head_size
    key_value = 2 * shape.hidden_size * shape.key_value_heads * shape.head_size
    mlp = 3 * shape.hidden_size * shape.intermediate_size
    table = padded_vocabulary(shape.vocabulary_size) * shape.hidden_size * BYTES[shape.dtype]
    return MemoryFootprint(
        shape=shape,
        split_bytes=shape.layers * (attention + mlp) * BYTES[shape.dtype],
        key_value_bytes=shape.layers * key_value * BYTES[shape.dtype],
        whole_bytes=(2 * shape.layers + 1) * shape.hidden_size * BYTES[shape.dtype],
        input_bytes=table,
        output_bytes=0 if tied else table,
    )


def padded_vocabulary(size: int) -> int:
    """The vocabulary size after vLLM's padding."""
    return math.ceil(size / _VOCABULARY_PADDING) * _VOCABULARY_PADDING
