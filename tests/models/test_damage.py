"""Values of the wrong type or size in a model's files raise an error that names the file, and no other exception."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.models.checkpoint import read_checkpoint
from maritalk_vllm.models.safetensors_header import read_header
from tests.models.files import LLAMA, MISTRAL, model, safetensors

TENSORS = {"model.layers.0.self_attn.k_proj.weight": ("BF16", [32, 64]), "lm_head.weight": ("BF16", [128, 64])}

# A llama with every key that is read, and a composite model that contains it.
FULL: dict[str, Any] = {
    **LLAMA,
    "architectures": ["LlamaForCausalLM"],
    "head_dim": 16,
    "sliding_window": 128,
    "use_sliding_window": True,
    "layer_types": ["sliding_attention", "full_attention"],
    "max_window_layers": 1,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "tie_word_embeddings": False,
    "quantization_config": {
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
        "group_size": 128,
        "config_groups": {"group_0": {"weights": {"group_size": 128, "block_structure": [128, 128]}}},
    },
    "n_positions": 77,
    "model_max_length": 512,
    "original_max_position_embeddings": 256,
    "multi_query": False,
    "new_decoder_architecture": False,
    "hidden_size_per_head": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "attn_config": {"kv_n_heads": 2},
    "block_configs": [{"attention": {"n_heads_in_group": 2}}],
    "hybrid_override_pattern": "M*",
    "attn_layer_indices": [1],
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "vision_config": {"dtype": "bfloat16"},
    "num_layers": 2,
}
COMPOSITE: dict[str, Any] = {"model_type": "llava", "text_config": FULL, "vision_config": {"dtype": "float32"}}
TYPES = ["llama", "deepseek_v3", "gpt2", "falcon", "dbrx", "gemma3_text", "jamba", "nemotron_h", "qwen2", "unknown"]
PARAMS: dict[str, Any] = {
    **MISTRAL,
    "max_seq_len": 1024,
    "sliding_window": [128, None],
    "moe": {"num_shared_experts": 1},
    "yarn": {"factor": 2},
    "quantization": {"quant_method": "fp8"},
    "tied_embeddings": False,
    "dtype": "bfloat16",
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**12, 10**4000]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3), st.floats()), max_size=4),
    st.dictionaries(st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=3)), max_size=3),
    st.recursive(st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=5),
)


def paths(content: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in content.items():
        found.append((*above, key))
        if isinstance(value, dict):
            found += paths(value, (*above, key))
    return found


def replaced(content: Any, path: tuple[str, ...], value: object) -> Any:
    if not path:
        return value
    return {**content, path[0]: replaced(content[path[0]], path[1:], value)}


def check_result(folder: Path, file: str) -> None:
    try:
        footprint = read_checkpoint(folder)
    except WeightsError as error:
        assert error.exit_code == 6
        assert str(folder / file) in error.message
        return
    # An accepted configuration can be planned.
    for size in footprint.tensor_parallel_sizes(8):
        assert footprint.served_as("float32").weights_bytes_per_gpu(size, 2) >= 0
        assert footprint.shape.kv_cache_bytes(4096, tensor_parallel_size=size, in_flight=64, dtype="bfloat16") >= 0


SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
"""All examples of a test write into the same folder."""


@SHARED_FOLDER
@given(data=st.data())
def test_any_value_of_config_json(tmp_path: Path, data: st.DataObject) -> None:
    folder = model(tmp_path, TENSORS)
    content: dict[str, Any] = data.draw(st.sampled_from([FULL, COMPOSITE]))
    if content is FULL:
        content = {**FULL, "model_type": data.draw(st.sampled_from(TYPES))}
    for _ in range(data.draw(st.integers(1, 2))):
        content = replaced(content, data.draw(st.sampled_from(paths(content))), data.draw(ODD))
    (folder / "config.json").write_text(json.dumps(content))
    check_result(folder, "config.json")


@SHARED_FOLDER
@given(path=st.sampled_from(paths(PARAMS)), value=ODD)
def test_any_value_of_params_json(tmp_path: Path, path: tuple[str, ...], value: object) -> None:
    safetensors(tmp_path / "consolidated.safetensors", {"layers.0.attention.wk.weight": ("BF16", [32, 64])})
    (tmp_path / "params.json").write_text(json.dumps(replaced(PARAMS, path, value)))
    check_result(tmp_path, "params.json")


@SHARED_FOLDER
@given(key=st.sampled_from(["weight_map", "metadata", "shard"]), value=ODD)
def test_any_value_of_the_index(tmp_path: Path, key: str, value: object) -> None:
    folder = model(tmp_path, TENSORS)
    index: dict[str, Any] = {"metadata": {"total_size": 1}, "weight_map": {"a": "model.safetensors"}}
    content = replaced(index, ("weight_map", "a") if key == "shard" else (key,), value)
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    try:
        read_checkpoint(folder)
    except WeightsError as error:
        assert str(folder) in error.message


HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
    "b": {"dtype": "F32", "shape": [2], "data_offsets": [64, 72]},
}


@SHARED_FOLDER
@given(path=st.sampled_from(paths(HEADER)), value=ODD, length=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_any_header_of_weights(tmp_path: Path, path: tuple[str, ...], value: object, length: int | None) -> None:
    text = json.dumps(replaced(HEADER, path, value)).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + bytes(72))
    try:
        read_header(file)
    except WeightsError as error:
        assert str(file) in error.message


@given(content=st.binary(max_size=200))
@SHARED_FOLDER
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    folder = model(tmp_path, TENSORS)
    (folder / "config.json").write_bytes(content)
    check_result(folder, "config.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_hidden_layers", "2", 'config.json is damaged: num_hidden_layers is "2".'),
        ("num_attention_heads", 0, "num_attention_heads is 0."),
        ("num_attention_heads", True, "num_attention_heads is true."),
        ("hidden_size", 64.5, "hidden_size is 64.5."),
        ("max_position_embeddings", [1024], "max_position_embeddings is [1024]."),
        ("rope_scaling", "yarn", 'rope_scaling is "yarn".'),
        ("rope_scaling", {"type": "linear", "factor": "4"}, 'rope_scaling.factor is "4".'),
        ("layer_types", "full", 'layer_types is "full".'),
        ("torch_dtype", 16, "torch_dtype is 16."),
        ("torch_dtype", "bf16", 'torch_dtype is "bf16".'),
        ("quantization_config", "fp8", 'quantization_config is "fp8".'),
        ("model_type", 7, "model_type is 7."),
        ("vocab_size", 10**30, f"vocab_size is {10**30}."),
    ],
)
def test_error_names_the_key(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(WeightsError) as error:
        read_checkpoint(model(tmp_path, TENSORS, **{key: value}))
    assert message in error.value.message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model.safetensors.index.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "nested", "not utf-8", "large"])
def test_invalid_files(tmp_path: Path, name: str, kind: str) -> None:
    folder = model(tmp_path, TENSORS)
    file = folder / name
    file.unlink(missing_ok=True)
    match kind:
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "nested":
            file.write_bytes(b"[" * 200_000)
        case "not utf-8":
            file.write_bytes(b'{"model_type": "\xff\xfe"}')
        case "large":
            file.write_bytes(b"{}")
            os.truncate(file, 70 << 20)
    if kind in ("folder", "pipe") and name.endswith("index.json"):
        return  # vLLM ignores it
    with pytest.raises(WeightsError) as error:
        read_checkpoint(folder)
    assert str(folder) in error.value.message
