"""The footprint of a model whose weights are elsewhere, by its configuration and the size of its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .architecture_config import shape_of, stored_dtype
from .memory_footprint import MemoryFootprint, llama_footprint
from .model_config import described


def promised_footprint(content: Mapping[str, Any], stored_bytes: int) -> MemoryFootprint | None:
    """Of `stored_bytes` of weights, as large as their files; None where the configuration leaves their shape open.

    `content` is that of config.json. The parts that cards share in other ways, or not at all, are taken to be as large
    a share of it as in a Llama. Raises WeightsError for a value of a wrong type or size.
    """
    config = described(content, Path("config.json"))
    shape = shape_of(config)
    if not shape.layers or not shape.attention_heads or not shape.hidden_size:
        return None
    # vLLM serves in 16 bits what is stored in 32.
    size = stored_bytes // 2 if shape.quantization is None and stored_dtype(config) == "float32" else stored_bytes
    llama = llama_footprint(shape, tied=False)
    of_all = size / max(1, llama.weights_bytes)
    key_value, table = int(llama.key_value_bytes * of_all), int(llama.input_bytes * of_all)
    return MemoryFootprint(
        shape=shape,
        split_bytes=size - key_value - 2 * table,
        key_value_bytes=key_value,
        input_bytes=table,
        output_bytes=table,
    )
