"""Write safetensors files and model folders by hand, without torch, including ones that no library would write."""

import json
import math
from pathlib import Path
from typing import Any

ITEM_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "I32": 4, "U8": 1}

LLAMA = {
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "vocab_size": 128,
    "intermediate_size": 128,
    "max_position_embeddings": 1024,
}
MISTRAL = {
    "dim": 64,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "head_dim": 16,
    "hidden_dim": 128,
    "vocab_size": 128,
}
"""Content of params.json, which replaces config.json in Mistral's own layout."""


def safetensors(file: Path, tensors: dict[str, tuple[str, list[int]]]) -> Path:
    """A file with tensors of these dtypes and shapes, filled with zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + ITEM_BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    return file


def model(folder: Path, tensors: dict[str, tuple[str, list[int]]], **config: object) -> Path:
    """A folder with one weights file and the config.json of a small Llama, updated with `config`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**LLAMA, **config}))
    safetensors(folder / "model.safetensors", tensors)
    return folder
