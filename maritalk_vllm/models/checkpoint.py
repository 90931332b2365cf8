"""Read the shape and footprint of the model in a folder from config.json and the headers of its weights alone."""

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import WeightsError
from ..i18n.message import msg
from .architecture import BYTES, ModelArchitecture
from .architecture_config import is_tied, shape_of, stored_dtype
from .memory_footprint import MemoryFootprint, llama_footprint, padded_vocabulary
from .model_config import Config, read_config
from .pickle_dtype import pickled_dtype
from .safetensors_header import Tensor, read_header
from .tensor_shapes import complete_from_tensors
from .weights_files import NO_WEIGHTS, weights_files

_FLOATS = {"F64", "F32", "F16", "BF16"}

# Patterns of tensor names, for all architectures that vLLM knows.
_LAYER = re.compile(r"\b(?:layers|h|blocks)\.\d+\.")
_INPUT = re.compile(r"\b(?:embed_tokens|wte|word_embeddings|tok_embeddings|embed_in)\.weight$")
_OUTPUT = re.compile(r"^(?:language_model\.)?(?:lm_head|output|embed_out)\.weight$")
_KEY_VALUE = re.compile(r"\b(?:k_proj|v_proj|wk|wv)\.")
_FUSED = re.compile(r"\b(?:qkv_proj|query_key_value|Wqkv|qkv)\.")
# Small matrices that are replicated on every GPU: expert routers, and MLA's projections down to its latent space.
_REPLICATED = re.compile(r"\b(?:gate|router|q_a_proj|kv_a_proj_with_mqa|kv_a_proj|indexer)\.")


def read_checkpoint(folder: Path, load_format: str = "auto") -> MemoryFootprint:
    """Return the footprint of the model in `folder`, in the dtype that vLLM would choose on a GPU.

    `load_format` is vLLM's. With `dummy`, only the configuration is read, and the weights are computed as for a Llama.
    Raises WeightsError, which names the file, if the configuration or a weights file is missing, damaged or truncated.
    """
    config = read_config(folder)
    shape, tied = shape_of(config), is_tied(config)
    if load_format in NO_WEIGHTS:
        return llama_footprint(shape, tied=tied)
    weights = weights_files(folder, load_format)
    if not weights.files:
        raise WeightsError(
            msg("{folder} holds no weights that vLLM loads: it has no *.safetensors file.", folder=folder),
            "Copy or download them again.",
        )
    if not weights.safetensors:
        size = sum(_served_bytes(file, config, shape) for file in weights.files)
        return MemoryFootprint(shape=shape, split_bytes=size, exact=True)
    tensors: dict[str, Tensor] = {}
    for file in weights.files:
        tensors |= read_header(file)
    return _footprint(complete_from_tensors(shape, tensors), tensors, tied=tied)


def _served_bytes(file: Path, config: Config, shape: ModelArchitecture) -> int:
    """Bytes of a pickle file's weights once vLLM has cast them."""
    size = _size(file)
    stored = pickled_dtype(file) or stored_dtype(config) or "float32"
    if shape.quantization is not None or stored not in BYTES:
        return size
    return size * BYTES[shape.dtype] // BYTES[stored]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise WeightsError(
            msg("The weights file {file} cannot be read: {reason}.", file=file, reason=error.strerror)
        ) from error


def _footprint(shape: ModelArchitecture, tensors: Mapping[str, Tensor], *, tied: bool) -> MemoryFootprint:
    sizes = dict.fromkeys(("split", "key_value", "whole", "input", "output"), 0)
    key_value_share = 2 * shape.key_value_heads / max(1, shape.attention_heads + 2 * shape.key_value_heads)
    for name, tensor in tensors.items():
        size = _bytes_in_memory(tensor, shape)
        if _OUTPUT.search(name) or _INPUT.search(name):
            kind = "output" if _OUTPUT.search(name) else "input"
            if kind == "output" and tied:
                continue  # vLLM does not load the head again if it is tied to the embedding
            if tensor.shape[:1] == (shape.vocabulary_size,):
                size = size // tensor.shape[0] * padded_vocabulary(tensor.shape[0])
            sizes[kind] += size
        elif len(tensor.shape) < 2 or _REPLICATED.search(name) or not _LAYER.search(name):
            sizes["whole"] += size
        elif _FUSED.search(name):
            sizes["key_value"] += int(size * key_value_share)
            sizes["split"] += size - int(size * key_value_share)
        else:
            sizes["key_value" if _KEY_VALUE.search(name) else "split"] += size
    return MemoryFootprint(shape=shape, exact=True, **{f"{kind}_bytes": size for kind, size in sizes.items()})


def _bytes_in_memory(tensor: Tensor, shape: ModelArchitecture) -> int:
    # The packed weights and scales of a quantised model stay as stored; other models are cast to one dtype.
    if shape.quantization is None and tensor.dtype in _FLOATS:
        return tensor.elements * BYTES[shape.dtype]
    return tensor.bytes
