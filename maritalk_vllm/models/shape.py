"""The numbers of a model that decide how it can be split and how much memory a token takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 1}
"""Size of one number, by the name of its type."""

BLOCK_TOKENS = 16
"""vLLM gives out the KV cache in blocks of this many tokens."""

# What architectures call the same thing in config.json; the same names as in vLLM's model_arch_config_convertor.py.
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KEY_VALUE_HEADS = (
    "n_head_kv",
    "num_kv_heads",
    "num_key_value_heads",
    "multi_query_group_num",
    "num_attention_groups",
)
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_INTERMEDIATE = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "model_max_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
_TEXT = ("text_config", "llm_config", "language_config")
# Rotary embeddings whose max_position_embeddings already counts their scaling, as vLLM's config/model.py has it.
_SCALED = {"default", "su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling", "mrope"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes as in config.json; `max_model_len` (what vLLM serves by itself), `context_limit` (the most that it takes)
    and `sliding_window` in tokens.

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


def read_shape(config: Mapping[str, Any]) -> Shape:
    """From the content of config.json."""
    text = next((config[key] for key in _TEXT if isinstance(config.get(key), Mapping)), config)
    heads = _first(text, _HEADS)
    hidden = _first(text, _HIDDEN)
    layers = _first(text, _LAYERS)
    sliding, stateless = _layer_kinds(text, layers)
    return Shape(
        attention_heads=heads,
        key_value_heads=1 if text.get("multi_query") else _first(text, _KEY_VALUE_HEADS, heads),
        head_size=_first(text, ("head_dim", "hidden_size_per_head"), hidden // heads if heads else 0),
        layers=layers,
        vocabulary_size=_first(text, ("vocab_size",), _first(config, ("vocab_size",))),
        hidden_size=hidden,
        intermediate_size=_first(text, _INTERMEDIATE, 4 * hidden),
        max_model_len=_max_model_len(text),
        context_limit=_context_limit(text),
        sliding_window=text.get("sliding_window") if sliding else None,
        sliding_layers=sliding,
        stateless_layers=stateless,
        latent_size=_first(text, ("qk_rope_head_dim",)) + text["kv_lora_rank"] if text.get("kv_lora_rank") else None,
        dtype=_dtype(text, config),
        quantization=_quantization(text) or _quantization(config),
    )


def _first(config: Mapping[str, Any], names: tuple[str, ...], otherwise: int = 0) -> int:
    return next((int(config[name]) for name in names if isinstance(config.get(name), int | float)), otherwise)


def _max_model_len(text: Mapping[str, Any]) -> int | None:
    longest = min((int(text[name]) for name in _LENGTHS if isinstance(text.get(name), int | float)), default=None)
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if longest is None or "gemma3" in text.get("model_type", ""):
        return longest
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "longrope" and (original := text.get("original_max_position_embeddings")):
        return int(original)
    return longest if kind in _SCALED else int(longest * (rope.get("factor") or 1))


def _context_limit(text: Mapping[str, Any]) -> int | None:
    """The longest context that vLLM takes: what the embeddings allow once they are scaled, or model_max_length."""
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    scaled = _max_model_len(text)
    if rope.get("rope_type", rope.get("type")) == "longrope":
        scaled = _first(text, ("max_position_embeddings",)) or scaled
    declared = text.get("model_max_length")
    return max(scaled, declared) if scaled and isinstance(declared, int) else scaled


def _layer_kinds(text: Mapping[str, Any], layers: int) -> tuple[int, int]:
    """How many layers slide, and how many keep nothing of a token."""
    kinds = text.get("layer_types") or text.get("layers_block_type") or ()
    stateless = sum(kind in ("linear_attention", "mamba", "conv", "recurrent") for kind in kinds)
    if not text.get("sliding_window") or text.get("use_sliding_window") is False:
        return 0, stateless
    if kinds:
        return sum(kind == "sliding_attention" for kind in kinds), stateless
    if pattern := text.get("sliding_window_pattern"):  # every so manieth layer looks at everything
        return layers - layers // int(pattern), 0
    if text.get("model_type") == "gemma2":
        return math.ceil(layers / 2), 0
    return layers, 0


def _dtype(text: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The type that vLLM serves in if nobody says otherwise: it halves float32."""
    names = [each.get(key) for each in (config, text) for key in ("dtype", "torch_dtype")]
    stored = next((name.removeprefix("torch.") for name in names if isinstance(name, str)), "float32")
    return stored if stored in ("bfloat16", "float16") else "bfloat16"


def _quantization(config: Mapping[str, Any]) -> str | None:
    found = config.get("quantization_config") or config.get("compression_config")
    return str(found.get("quant_method", "unknown")) if isinstance(found, Mapping) else None
