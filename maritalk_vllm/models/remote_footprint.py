"""Estimate the footprint of a model on a remote server from its configuration and the size of its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .architecture_config import shape_of, stored_dtype
from .memory_footprint import MemoryFootprint, llama_footprint
from .model_config import parse_config


def remote_footprint(content: Mapping[str, Any], stored_bytes: int) -> MemoryFootprint | None:
    """Estimate from config.json's `content` and the size of the weights files; None if the shape remains unknown.

    The parts that tensor parallelism divides differently, or not at all, are assumed to be the same share of the
    weights as in a Llama. Raises WeightsError for a value of the wrong type or size.
    """
    config = parse_config(content, Path("config.json"))
    shape = shape_of(config)
    if not shape.layers or not shape.attention_heads or not shape.hidden_size:
        return None
    # vLLM serves 32-bit weights in 16 bits.
    size = stored_bytes // 2 if shape.quantization is None and stored_dtype(config) == "float32" else stored_bytes
    llama = llama_footprint(shape, tied=False)
    ratio = size / max(1, llama.weights_bytes)
    key_value, table = int(llama.key_value_bytes * ratio), int(llama.input_bytes * ratio)
    return MemoryFootprint(
        shape=shape,
        split_bytes=size - key_value - 2 * table,
        key_value_bytes=key_value,
        input_bytes=table,
        output_bytes=table,
    )
