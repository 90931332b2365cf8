"""Which layers of a model keep less of a context than all of its tokens."""

from dataclasses import dataclass

from .model_config import Config

_WINDOW = {"sliding_attention", "hybrid_sliding", "s"}
_STATELESS = {"linear_attention", "mamba", "mamba2", "conv", "recurrent", "moe", "mlp", "-", "E", "M", "l"}
"""Kinds that keep nothing of a token: a state of fixed size, or no attention at all."""


@dataclass(frozen=True, slots=True)
class LayerKinds:
    """Numbers of layers: those with a sliding window, and those that keep nothing of a token."""

    sliding: int = 0
    stateless: int = 0
    window: int | None = None


def layer_kinds(config: Config, layers: int) -> LayerKinds:
    """Raises WeightsError, which names file and key, for a value of another type."""
    text = config.text
    window = text.largest("sliding_window", least=-1) or None
    if (window or 0) <= 0 or text.flag("use_sliding_window") is False:
        window = None
    kinds = _kinds(config, layers)
    stateless = sum(kind in _STATELESS for kind in kinds)
    if window is None:
        return LayerKinds(0, stateless)
    if kinds:
        sliding = sum(kind in _WINDOW for kind in kinds)
    elif (dense := text.size("max_window_layers", least=0)) is not None:
        sliding = max(0, layers - dense)
    else:
        sliding = layers
    return LayerKinds(sliding, stateless, window if sliding else None)


def _kinds(config: Config, layers: int) -> list[str]:
    """The kind of each layer; empty where they are all alike, or nobody says."""
    text, row = config.text, config.architecture
    for key in ("layer_types", "layers_block_type"):
        if given := text.words(key):
            return given
    if pattern := text.word("hybrid_override_pattern"):
        return list(pattern)
    for key in ("full_attn_idxs", "attn_layer_indices"):
        given_layers = text.get(key)
        if given_layers is None:
            continue
        if not (isinstance(given_layers, list) and all(type(each) is int for each in given_layers)):
            raise text.wrong(key, "It has to be a list of whole numbers.")
        return ["full_attention" if at in given_layers else "mamba" for at in range(layers)]
    if period := text.size("attn_layer_period", most=10_000):
        offset = text.size("attn_layer_offset", least=0) or 0
        return ["full_attention" if at % period == offset else "mamba" for at in range(layers)]
    pattern_key = row.layers_key or "sliding_window_pattern"
    return _repeated(row.layers, text.size(pattern_key, most=10_000), layers)


def _repeated(pattern: str, every: int | None, layers: int) -> list[str]:
    """The class's pattern over all layers; one layer in `every` looks at the whole context, if that is set."""
    if every is not None:
        usual = next((kind for kind in pattern if kind != "f"), "s")
        first = pattern[:1] == "f" and len(pattern) > 1
        pattern = "f" + usual * (every - 1) if first else usual * (every - 1) + "f"
    return [pattern[at % len(pattern)] for at in range(layers)] if pattern else []
