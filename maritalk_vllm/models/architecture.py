"""The sizes of a model that determine how it can be split and how much memory a token takes."""

import math
from dataclasses import dataclass

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}
"""Bytes per number, by dtype."""

BLOCK_TOKENS = 16
"""Tokens per block of vLLM's KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelArchitecture:
    """Sizes as vLLM reads them from config.json; `max_model_len`, `context_limit` and `sliding_window` in tokens.

    `unknown` lists the sizes that neither the configuration nor the weights give; they are 0. `max_model_len` is the
    context that vLLM serves by default, None if unknown; `context_limit` is the longest that it accepts, None if there
    is no limit or it is unknown.

    Of the layers, `sliding_layers` cache the last `sliding_window` tokens, `stateless_layers` none (Mamba, linear
    attention) and the others all. `latent_size` is what multi-head latent attention (MLA) caches instead of heads.

    `quantization_block` is the number of consecutive weights that share a scale, 1 if there are no such blocks.
    """

    attention_heads: int
    key_value_heads: int
    head_size: int
    layers: int
    vocabulary_size: int
    hidden_size: int
    intermediate_size: int
    max_model_len: int | None = None
    context_limit: int | None = None
    sliding_window: int | None = None
    sliding_layers: int = 0
    stateless_layers: int = 0
    latent_size: int | None = None
    dtype: str = "bfloat16"
    quantization: str | None = None
    quantization_block: int = 1
    unknown: tuple[str, ...] = ()

    def kv_cache_bytes(
        self, tokens: int, *, tensor_parallel_size: int = 1, pipeline_parallel_size: int = 1, in_flight: int, dtype: str
    ) -> int:
        """KV cache bytes of one request of `tokens` tokens on each GPU of the largest pipeline stage.

        A step computes at most `in_flight` tokens, which a sliding window caches in addition to its own.
        """
        bytes_per_token = self._numbers_per_token(tensor_parallel_size) * BYTES[dtype]
        cached_tokens = min(tokens, (self.sliding_window or 0) + in_flight)
        full_layers = self.layers - self.sliding_layers - self.stateless_layers
        total = bytes_per_token * (full_layers * _blocks(tokens) + self.sliding_layers * _blocks(cached_tokens))
        return math.ceil(total * biggest_stage(self.layers, pipeline_parallel_size) / max(1, self.layers))

    def _numbers_per_token(self, tensor_parallel_size: int) -> int:
        """Numbers that one layer caches per token on one GPU."""
        if self.latent_size is not None:
            return self.latent_size  # replicated on every GPU
        return 2 * self.head_size * max(1, self.key_value_heads // tensor_parallel_size)


def biggest_stage(layers: int, stages: int) -> int:
    """Number of layers of the largest pipeline stage."""
    return math.ceil(layers / stages)


def _blocks(tokens: int) -> int:
    return math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
