"""Count the layers that cache only part of the context, or none of it."""

from dataclasses import dataclass

from .model_config import Config

_WINDOW = {"sliding_attention", "hybrid_sliding", "s"}
_STATELESS = {"linear_attention", "mamba", "mamba2", "conv", "recurrent", "moe", "mlp", "-", "E", "M", "l"}
"""Kinds of layers that cache no tokens: they have a state of fixed size, or no attention at all."""


@dataclass(frozen=True, slots=True)
class LayerKinds:
    """Numbers of layers with a sliding window of `window` tokens, and of layers that cache no tokens."""

    sliding: int = 0
    stateless: int = 0
    window: int | None = None


def layer_kinds(config: Config, layers: int) -> LayerKinds:
    """Count the kinds of layers. Raises WeightsError, which names file and key, for a value of the wrong type."""
    text = config.text
    window = text.largest("sliding_window", minimum=-1) or None
    if (window or 0) <= 0 or text.boolean("use_sliding_window") is False:
        window = None
    kinds = _kinds(config, layers)
    stateless = sum(kind in _STATELESS for kind in kinds)
    if window is None:
        return LayerKinds(0, stateless)
    if kinds:
        sliding = sum(kind in _WINDOW for kind in kinds)
    elif (dense := text.size("max_window_layers", minimum=0)) is not None:
        sliding = max(0, layers - dense)
    else:
        sliding = layers
    return LayerKinds(sliding, stateless, window if sliding else None)


def _kinds(config: Config, layers: int) -> list[str]:
    """The kind of each layer; empty if all are alike or the configuration does not say."""
    text, row = config.text, config.architecture
    for key in ("layer_types", "layers_block_type"):
        if given := text.strings(key):
            return given
    if pattern := text.string("hybrid_override_pattern"):
        return list(pattern)
    for key in ("full_attn_idxs", "attn_layer_indices"):
        given_layers = text.get(key)
        if given_layers is None:
            continue
        if not (isinstance(given_layers, list) and all(type(each) is int for each in given_layers)):
            raise text.invalid_value(key, "It has to be a list of whole numbers.")
        return ["full_attention" if index in given_layers else "mamba" for index in range(layers)]
    if period := text.size("attn_layer_period", maximum=10_000):
        offset = text.size("attn_layer_offset", minimum=0) or 0
        return ["full_attention" if index % period == offset else "mamba" for index in range(layers)]
    pattern_key = row.layers_key or "sliding_window_pattern"
    return _repeated(row.layers, text.size(pattern_key, maximum=10_000), layers)


def _repeated(pattern: str, every: int | None, layers: int) -> list[str]:
    """Repeat the class's pattern over all layers. If `every` is set, one layer in `every` has full attention."""
    if every is not None:
        other = next((kind for kind in pattern if kind != "f"), "s")
        first = pattern[:1] == "f" and len(pattern) > 1
        pattern = "f" + other * (every - 1) if first else other * (every - 1) + "f"
    return [pattern[index % len(pattern)] for index in range(layers)] if pattern else []
