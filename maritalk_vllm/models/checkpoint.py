"""A folder with a model: its shape and its footprint, told by config.json and the headers of its weights alone."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .footprint import Footprint, of_llama, padded_vocabulary
from .safetensors import Tensor, read_header
from .shape import BYTES, Shape, read_shape

_INDEX = "model.safetensors.index.json"
_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth")
_FLOATS = {"F64", "F32", "F16", "BF16"}

# Parts of tensors' names, of all architectures that vLLM knows.
_LAYER = re.compile(r"\b(?:layers|h|blocks)\.\d+\.")
_INPUT = re.compile(r"\b(?:embed_tokens|wte|word_embeddings|tok_embeddings|embed_in)\.weight$")
_OUTPUT = re.compile(r"^(?:language_model\.)?(?:lm_head|output|embed_out)\.weight$")
_KEY_VALUE = re.compile(r"\b(?:k_proj|v_proj|wk|wv)\.")
_FUSED = re.compile(r"\b(?:qkv_proj|query_key_value|Wqkv|qkv)\.")
# Small matrices that every card has whole: routers of experts, and MLA's way down to its latent space.
_WHOLE = re.compile(r"\b(?:gate|router|q_a_proj|kv_a_proj_with_mqa|kv_a_proj|indexer)\.")


def read_checkpoint(folder: Path, *, made_up: bool = False) -> Footprint:
    """The footprint of the model in `folder`, in the type that vLLM would choose on a GPU.

    With `made_up` weights (vLLM's `--load-format dummy`) config.json is enough, and is read as that of a Llama.
    Raises WeightsError if config.json or a weights file is missing, damaged or cut off, and names it.
    """
    config = _json(folder / "config.json")
    shape = read_shape(config)
    limit = _tokenizer_limit(folder)
    if limit is not None and (shape.max_model_len is None or limit < shape.max_model_len):
        shape = replace(shape, max_model_len=limit)
    files = weights_files(folder)
    if not files and made_up:
        return of_llama(shape, tied=_is_tied(config))
    if not files:
        return Footprint(shape=shape, split_bytes=_other_weights(folder), exact=True)
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_header(file)
    return _footprint(shape, tensors, tied=_is_tied(config))


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files that vLLM would load. Raises WeightsError if one that the index names is missing."""
    if (folder / _INDEX).is_file():
        shards = sorted(set(_json(folder / _INDEX).get("weight_map", {}).values()))
        if missing := [name for name in shards if not (folder / name).is_file()]:
            raise WeightsError(
                f"{len(missing)} of {len(shards)} weights files are missing in {folder}: {', '.join(missing[:3])}"
                f"{' ...' if len(missing) > 3 else ''}.",
                "Copy or download them again.",
            )
        return [folder / name for name in shards]
    found = sorted(folder.glob("*.safetensors"))
    # Mistral publishes the same weights twice, in its own layout too.
    return [file for file in found if not file.name.startswith("consolidated")] or found


def _other_weights(folder: Path) -> int:
    """The size of weights in a format that cannot be looked into cheaply."""
    size = sum(file.stat().st_size for pattern in _OTHER_FORMATS for file in folder.glob(pattern))
    if not size:
        raise WeightsError(f"{folder} holds no weights: it has no *.safetensors file.", "Copy or download them again.")
    return size


def _footprint(shape: Shape, tensors: Mapping[str, Tensor], *, tied: bool) -> Footprint:
    sizes = dict.fromkeys(("split", "key_value", "whole", "input", "output"), 0)
    key_value_share = 2 * shape.key_value_heads / max(1, shape.attention_heads + 2 * shape.key_value_heads)
    for name, tensor in tensors.items():
        size = _bytes_in_memory(tensor, shape)
        if _OUTPUT.search(name) or _INPUT.search(name):
            kind = "output" if _OUTPUT.search(name) else "input"
            if kind == "output" and tied:
                continue  # vLLM does not load what is the embedding once more
            if tensor.shape[:1] == (shape.vocabulary_size,):
                size = size // tensor.shape[0] * padded_vocabulary(tensor.shape[0])
            sizes[kind] += size
        elif len(tensor.shape) < 2 or _WHOLE.search(name) or not _LAYER.search(name):
            sizes["whole"] += size
        elif _FUSED.search(name):
            sizes["key_value"] += int(size * key_value_share)
            sizes["split"] += size - int(size * key_value_share)
        else:
            sizes["key_value" if _KEY_VALUE.search(name) else "split"] += size
    return Footprint(shape=shape, exact=True, **{f"{kind}_bytes": size for kind, size in sizes.items()})


def _bytes_in_memory(tensor: Tensor, shape: Shape) -> int:
    # A quantised model keeps its packed weights and their scales as they are; any other is cast to one type.
    if shape.quantization is None and tensor.dtype in _FLOATS:
        return tensor.elements * BYTES[shape.dtype]
    return tensor.bytes


def _is_tied(config: Mapping[str, Any]) -> bool:
    text = config.get("text_config")
    return bool(config.get("tie_word_embeddings", isinstance(text, Mapping) and text.get("tie_word_embeddings")))


def _tokenizer_limit(folder: Path) -> int | None:
    """The longest text that the tokenizer's own configuration allows, in tokens; vLLM heeds it too."""
    file = folder / "tokenizer_config.json"
    limit = _json(file).get("model_max_length") if file.is_file() else None
    # Without a limit, transformers writes 10^30.
    return int(limit) if isinstance(limit, int | float) and limit < 1e12 else None


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise WeightsError(
            f"{file.parent} holds no model: it has no {file.name}.", "Give the folder of a checkpoint."
        ) from None
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise WeightsError(f"{file} is damaged: {error}.", "Copy or download it again.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is damaged: it holds no JSON object.", "Copy or download it again.")
    return content
