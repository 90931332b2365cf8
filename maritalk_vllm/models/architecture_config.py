"""Read a text model's sizes from its configuration as vLLM's ModelConfig does (model_arch_config_convertor.py)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..i18n.message import msg
from .architecture import ModelArchitecture
from .context_length import context_length
from .json_file import Section
from .layer_kinds import layer_kinds
from .model_config import Config, parse_config, read_config
from .quantization import quantization_block, quantization_method

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KEY_VALUE_HEADS = (
    "n_head_kv",
    "num_kv_heads",
    "num_key_value_heads",
    "multi_query_group_num",
    "num_attention_groups",
)
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_INTERMEDIATE = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
_MAX_LAYERS, _MAX_HEADS = 10_000, 1_000_000

# Model types with multi-head latent attention, if kv_lora_rank is set.
_LATENT_ATTENTION = {
    "axk1",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "deepseek_v4",
    "deepseek_v41",
    "dots3_note",
    "glm5_next",
    "glm5_next_text",
    "glm_moe_dsa",
    "glm4_moe_lite",
    "kimi_k2",
    "kimi_linear",
    "longcat_flash",
    "pangu_ultra_moe",
    "bailing_hybrid",
    "hy_v4",
}
_STATE_SPACE = {"mamba", "mamba2", "falcon_mamba"}
"""Model types without attention, of which vLLM counts no heads."""
_GLOBAL_HEADS = {"gemma4_text", "gemma4_unified_text", "diffusion_gemma_text"}
"""Model types whose full-attention layers have larger heads and possibly another number of KV heads."""


def read_shape_from_folder(folder: Path) -> ModelArchitecture:
    """Read the shape of the model in a folder. Raises WeightsError, which names the file and the key."""
    return shape_of(read_config(folder))


def read_shape(content: Mapping[str, Any], file: Path = Path("config.json")) -> ModelArchitecture:
    """Read the shape from the content of config.json; `file` is its name in errors."""
    return shape_of(parse_config(content, file))


def shape_of(config: Config) -> ModelArchitecture:
    """The shape that the configuration gives; missing sizes are 0 and listed in `unknown`."""
    text = config.text
    heads = 0 if config.model_type in _STATE_SPACE else _first(text, _HEADS, maximum=_MAX_HEADS)
    hidden = _first(text, _HIDDEN)
    layers = _layers(config)
    latent = _latent_size(config)
    sizes = {
        "layers": layers,
        "attention_heads": heads,
        "key_value_heads": _key_value_heads(config, heads),
        "head_size": latent or _head_size(config, hidden, heads),
        "hidden_size": hidden,
        "vocabulary_size": text.size("vocab_size") or config.whole.size("vocab_size"),
    }
    kinds = layer_kinds(config, layers or 0)
    length = context_length(config)
    return ModelArchitecture(
        **{name: size or 0 for name, size in sizes.items()},
        unknown=tuple(name for name, size in sizes.items() if size is None),
        intermediate_size=_first(text, _INTERMEDIATE) or 4 * (hidden or 0),
        max_model_len=length.default,
        context_limit=length.limit,
        sliding_window=kinds.window,
        sliding_layers=min(kinds.sliding, layers or 0),
        stateless_layers=min(kinds.stateless, layers or 0),
        latent_size=latent,
        dtype=_dtype(config),
        quantization=quantization_method(config),
        quantization_block=quantization_block(config),
    )


def stored_dtype(config: Config) -> str | None:
    """The dtype in which the weights are stored, according to the configuration."""
    encoders = (config.whole.section(key) for key in ("vision_config", "encoder_config"))
    for part in (config.whole, config.text, *filter(None, encoders)):
        for key in ("dtype", "torch_dtype"):
            if (name := part.string(key)) is not None:
                name = name.removeprefix("torch.")
                if name not in ("float32", "bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2"):
                    raise part.invalid_value(key, "It has to be a type of PyTorch, such as bfloat16.")
                return name
    return None


def is_tied(config: Config) -> bool:
    """Whether the output head shares the weights of the input embedding."""
    given = config.text.boolean("tie_word_embeddings")
    if "tie_word_embeddings" not in config.text.content:
        top_level = config.whole.content.get("tie_word_embeddings")
        given = config.whole.boolean("tie_word_embeddings") if top_level is not None else given
    return bool(given)


def _first(text: Section, names: tuple[str, ...], *, maximum: int | None = None) -> int | None:
    limits = {} if maximum is None else {"maximum": maximum}
    return next((size for name in names if (size := text.largest(name, **limits)) is not None), None)


def _layers(config: Config) -> int | None:
    text, row = config.text, config.architecture
    if config.model_type == "longcat_flash":  # num_hidden_layers counts each layer twice
        doubled = text.size("num_hidden_layers", maximum=_MAX_LAYERS)
        return doubled // 2 if doubled else text.size("num_layers", maximum=_MAX_LAYERS)
    counted = _first(text, _LAYERS, maximum=_MAX_LAYERS)
    kinds = text.strings("layers_block_type") or text.strings("layer_types") or text.string("hybrid_override_pattern")
    if counted is None or (config.known and row.layers and not any(name in row.values for name in _LAYERS)):
        listed = len(kinds) if kinds else (len(row.layers) or None)
        return listed if listed is not None else counted
    if text.get("num_layers_per_stack") is None and (cycles := text.size("H_cycles")):
        return counted * cycles * ((text.size("L_cycles") or 0) + 1)
    return counted


def _key_value_heads(config: Config, heads: int | None) -> int | None:
    text = config.text
    if config.model_type in _STATE_SPACE:
        return 0
    if text.boolean("multi_query") and not text.boolean("new_decoder_architecture"):
        return 1
    if config.text_type == "dbrx":
        attention = text.section("attn_config")
        return (attention.size("kv_n_heads", maximum=_MAX_HEADS) if attention is not None else None) or 1
    if (blocks := text.get("block_configs")) is not None and heads:
        return _key_value_heads_of_blocks(text, blocks, heads)
    found = _first(text, _KEY_VALUE_HEADS, maximum=_MAX_HEADS)
    if config.text_type in _GLOBAL_HEADS and text.boolean("attention_k_eq_v"):
        found = max(found or 0, text.size("num_global_key_value_heads", maximum=_MAX_HEADS) or 0) or None
    return heads if found is None else found


def _key_value_heads_of_blocks(text: Section, blocks: object, heads: int) -> int:
    """The largest number of KV heads of any block of Nemotron's NAS architectures."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise text.invalid_value("block_configs", "It has to be a list of objects.")
    groups = []
    for index, block in enumerate(blocks):
        part = Section(content=block, file=text.file, path=f"{text.path}block_configs[{index}].")
        attention = part.section("attention")
        if attention is not None and (size := attention.size("n_heads_in_group", maximum=_MAX_HEADS)):
            groups.append(size)
    return max((heads // size for size in groups), default=heads)


def _head_size(config: Config, hidden: int | None, heads: int | None) -> int | None:
    text = config.text
    if config.model_type in _STATE_SPACE:
        return (text.size("head_dim") or 0) if config.model_type == "mamba2" else 0
    rule = config.architecture.head_size
    if rule == "qk_rope_head_dim" and (size := text.size("qk_rope_head_dim")) is not None:
        return size
    if rule == "divided" and hidden and heads:
        return hidden // heads
    found = text.largest("head_dim", minimum=0) or text.size("hidden_size_per_head")
    if config.text_type in _GLOBAL_HEADS:
        return max(found or 0, text.size("global_head_dim") or 512)
    if found:
        return found
    if not hidden or not heads:
        return None
    if hidden < heads:
        raise text.invalid_value(
            "hidden_size", msg("It has to be at least 1 for each of the {number} attention heads.", number=heads)
        )
    return 2 * hidden // heads if rule == "twice" else hidden // heads


def _latent_size(config: Config) -> int | None:
    """Numbers per token that multi-head latent attention caches."""
    text = config.text
    if config.text_type not in _LATENT_ATTENTION:
        return None
    if text.get("compress_ratios") is not None:
        return text.size("head_dim")
    rank = text.size("kv_lora_rank")
    return rank + (text.size("qk_rope_head_dim", minimum=0) or 0) if rank is not None else None


def _dtype(config: Config) -> str:
    """The dtype that vLLM serves in by default: float32 weights are served in bfloat16."""
    stored = stored_dtype(config)
    return stored if stored in ("bfloat16", "float16") else "bfloat16"
