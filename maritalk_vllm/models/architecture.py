"""The numbers of a model that decide how it can be split and how much memory a token takes."""

import math
from dataclasses import dataclass

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}
"""Size of one number, by the name of its type."""

BLOCK_TOKENS = 16
"""vLLM gives out the KV cache in blocks of this many tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelArchitecture:
    """Sizes as vLLM reads them from config.json; `max_model_len`, `context_limit` and `sliding_window` in tokens.

    `unknown` has the names of sizes that neither the configuration nor the weights tell, which are 0. `max_model_len`
    is what vLLM serves if the user asks for nothing, None where that is not known; `context_limit` is the most that it
    takes, None where there is no limit, or it is not known.

    Of the layers, `sliding_layers` keep the last `sliding_window` tokens, `stateless_layers` none (Mamba, linear
    attention) and the others all. `latent_size` is what multi-head latent attention (MLA) keeps instead of heads.
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
    unknown: tuple[str, ...] = ()

    def kv_cache_bytes(
        self, tokens: int, *, tensor_parallel_size: int = 1, pipeline_parallel_size: int = 1, in_flight: int, dtype: str
    ) -> int:
        """What one request of `tokens` takes on each card, the fullest stage of the pipeline counted.

        `in_flight` tokens at most are computed in one step: a sliding window keeps them beside its own.
        """
        a_token = self._layer_bytes_a_token(tensor_parallel_size) * BYTES[dtype]
        kept = min(tokens, (self.sliding_window or 0) + in_flight)
        full_layers = self.layers - self.sliding_layers - self.stateless_layers
        whole = a_token * (full_layers * _blocks(tokens) + self.sliding_layers * _blocks(kept))
        return math.ceil(whole * biggest_stage(self.layers, pipeline_parallel_size) / max(1, self.layers))

    def _layer_bytes_a_token(self, tensor_parallel_size: int) -> int:
        """Numbers that one layer keeps of one token on one card."""
        if self.latent_size is not None:
            return self.latent_size  # every card keeps all of it
        return 2 * self.head_size * max(1, self.key_value_heads // tensor_parallel_size)


def biggest_stage(layers: int, stages: int) -> int:
    """Layers on the fullest stage of a pipeline."""
    return math.ceil(layers / stages)


def _blocks(tokens: int) -> int:
    return math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
