"""Convert params.json, Mistral's own configuration, to the keys of config.json, as vLLM's configs/mistral.py does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .json_file import Section

PARAMS = "params.json"

_NAMES = {
    "dim": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "hidden_dim": "intermediate_size",
    "tied_embeddings": "tie_word_embeddings",
}
_LENGTH = 128_000
"""Context length in tokens if neither params.json nor config.json gives one."""


def to_hf_config(params: Mapping[str, Any], file: Path, hf_config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert `params`; a config.json in the same folder adds the other keys of `hf_config`. Raises WeightsError."""
    found: dict[str, Any] = {_NAMES.get(key, key): value for key, value in params.items()}
    given = Section(content=params, file=file)
    if found.get("max_position_embeddings") is None:
        other = hf_config.get("text_config") if isinstance(hf_config.get("text_config"), Mapping) else hf_config
        assert isinstance(other, Mapping)
        found["max_position_embeddings"] = other.get("max_position_embeddings") or _LENGTH
    if found.get("max_seq_len") is None:
        found["max_seq_len"] = found["max_position_embeddings"]
    windows = params.get("sliding_window")
    if isinstance(windows, list):
        found["sliding_window"] = given.largest("sliding_window")
        repeats = -(-(given.size("n_layers", maximum=10_000) or 0) // max(1, len(windows)))
        found["layer_types"] = ["sliding_attention" if each else "full_attention" for each in windows * repeats]
    quantization = given.section("quantization")
    if quantization is not None and quantization.content:
        found["quantization_config"] = {"quant_method": quantization.string("quant_method") or "fp8"}
    experts = given.section("moe")
    if experts is not None and experts.size("num_shared_experts", minimum=0):
        found["model_type"] = "deepseek_v3"
    if given.section("yarn") is not None:
        found["rope_parameters"] = {"rope_type": "yarn"}
    return {**hf_config, **found, "model_type": found.get("model_type", "transformer")}
