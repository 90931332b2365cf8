"""Derive sizes that a model's configuration does not give from the shapes of its tensors."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .architecture import ModelArchitecture
from .safetensors_header import Tensor

_LAYER = re.compile(r"^(.*?\b(?:layers|h|blocks))\.(\d+)\.")
_OTHER_TOWERS = re.compile(r"\b(?:vision|visual|audio|image|encoder|vit)\w*\.|mtp\.")
_INPUT = re.compile(r"\b(?:embed_tokens|wte|word_embeddings|tok_embeddings|embed_in)\.weight$")
_KEY = re.compile(r"\b(?:k_proj|wk)\.weight$")
_QUERY = re.compile(r"\b(?:q_proj|wq)\.weight$")
_HEAD_NORM = re.compile(r"\b(?:k_norm|k_layernorm)\.weight$")


def complete_from_tensors(shape: ModelArchitecture, tensors: Mapping[str, Tensor]) -> ModelArchitecture:
    """Return the shape with its unknown sizes taken from the tensors, as far as possible."""
    if not shape.unknown:
        return shape
    text = {name: tensor for name, tensor in tensors.items() if not _OTHER_TOWERS.search(name)}
    found: dict[str, Any] = {}
    if layers := _layers(text):
        found["layers"] = layers
    if table := _shape(text, _INPUT):
        found["vocabulary_size"], found["hidden_size"] = table
    found |= _heads(shape, text)
    found = {name: value for name, value in found.items() if name in shape.unknown and value}
    unknown = tuple(name for name in shape.unknown if name not in found)
    if "intermediate_size" not in found and not shape.intermediate_size:
        found["intermediate_size"] = 4 * found.get("hidden_size", shape.hidden_size)
    width = _width(text, _KEY)
    if width and "attention_heads" in unknown and not found.get("key_value_heads", shape.key_value_heads):
        # The KV cache per token is known even so: count one head as wide as all KV heads together.
        return replace(shape, **{**found, "key_value_heads": 1, "head_size": width}, unknown=unknown)
    return replace(shape, **found, unknown=unknown)


def _layers(tensors: Mapping[str, Tensor]) -> int:
    """Number of layers of the deepest stack."""
    matches = [match for name in tensors if (match := _LAYER.match(name))]
    stacks = Counter(match[1] for match in matches)
    if not stacks:
        return 0
    deepest = stacks.most_common(1)[0][0]
    return len({match[2] for match in matches if match[1] == deepest})


def _heads(shape: ModelArchitecture, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    query, key = _width(tensors, _QUERY), _width(tensors, _KEY)
    norm = next((tensor.shape for name, tensor in tensors.items() if _HEAD_NORM.search(name)), ())
    size = shape.head_size or (norm[0] if len(norm) == 1 else 0)
    heads = shape.attention_heads
    if not size and heads and query % heads == 0:
        size = query // heads
    if not size or query % size or key % size:
        return {}
    return {"head_size": size, "attention_heads": query // size, "key_value_heads": key // size}


def _width(tensors: Mapping[str, Tensor], pattern: re.Pattern[str]) -> int:
    found = _shape(tensors, pattern)
    return found[0] if found else 0


def _shape(tensors: Mapping[str, Tensor], pattern: re.Pattern[str]) -> tuple[int, ...]:
    """Shape of the first matrix whose name matches `pattern`; empty if there is none."""
    return next(
        (tensor.shape for name, tensor in tensors.items() if pattern.search(name) and len(tensor.shape) == 2), ()
    )
