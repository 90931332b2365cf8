"""Footprints of real checkpoints, and errors for missing or damaged files."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.errors import WeightsError
from maritalk_vllm.models.atomic_install import install_atomically
from maritalk_vllm.models.checkpoint import read_checkpoint
from maritalk_vllm.models.memory_footprint import padded_vocabulary
from tests.models.checkpoints import CONFIGS
from tests.models.files import model, safetensors
from tests.serving import note

LAYER = {
    "model.embed_tokens.weight": ("BF16", [128, 64]),
    "model.layers.0.self_attn.q_proj.weight": ("BF16", [64, 64]),
    "model.layers.0.self_attn.k_proj.weight": ("BF16", [32, 64]),
    "model.layers.0.mlp.gate.weight": ("BF16", [4, 64]),
    "model.layers.0.input_layernorm.weight": ("BF16", [64]),
    "lm_head.weight": ("BF16", [128, 64]),
}
FULL = 2 * (128 * 64 * 2 + 64 * 64 + 32 * 64 + 4 * 64 + 64)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint of each architecture, which parallel workers of pytest share."""

    def write_all(target: Path) -> None:
        command: list[str | Path] = [sys.executable, "-m", "tests.models.checkpoints", target]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "checkpoints"
    install_atomically(folder, write_all, "the checkpoints")
    return folder


@pytest.mark.commands
def test_dummy_weights(checkpoints: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoints / "llama" / "config.json").read_bytes())
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path)
    dummy, real = read_checkpoint(tmp_path, "dummy"), read_checkpoint(checkpoints / "llama")
    assert replace(dummy, exact=True) == real


@pytest.mark.commands
@pytest.mark.parametrize("name", CONFIGS)
def test_the_weights_of_an_architecture(checkpoints: Path, name: str) -> None:
    footprint = read_checkpoint(checkpoints / name)
    exact = json.loads((checkpoints / "sizes.json").read_text())[name]
    tables = 1 if footprint.output_bytes == 0 else 2
    shape = footprint.shape
    padding = (padded_vocabulary(shape.vocabulary_size) - shape.vocabulary_size) * shape.hidden_size * 2
    assert footprint.weights_bytes == exact + tables * padding
    assert footprint.exact


@pytest.mark.commands
@pytest.mark.parametrize(
    ("name", "heads", "key_value_heads", "head_size", "latent", "sliding", "longest"),
    [
        ("llama", 8, 2, 32, None, 0, 2048),
        ("qwen2", 8, 2, 32, None, 0, 2048),
        ("mixtral", 8, 2, 32, None, 0, 2048),
        ("gemma2", 8, 2, 64, None, 2, 2048),
        ("deepseek", 8, 8, 80, 80, 0, 2048),
        ("gpt2", 8, 8, 32, None, 0, 512),
    ],
)
def test_the_shape_of_an_architecture(
    checkpoints: Path,
    name: str,
    heads: int,
    key_value_heads: int,
    head_size: int,
    latent: int | None,
    sliding: int,
    longest: int,
) -> None:
    shape = read_checkpoint(checkpoints / name).shape
    assert (shape.attention_heads, shape.key_value_heads, shape.head_size) == (heads, key_value_heads, head_size)
    assert (shape.layers, shape.vocabulary_size, shape.hidden_size, shape.dtype) == (4, 1000, 256, "bfloat16")
    assert (shape.latent_size, shape.sliding_layers, shape.max_model_len) == (latent, sliding, longest)


@pytest.mark.commands
def test_shards_are_the_same_model(checkpoints: Path) -> None:
    assert read_checkpoint(checkpoints / "sharded") == read_checkpoint(checkpoints / "llama")


@pytest.mark.engine
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_vllm_allocates_the_computed_bytes(checkpoints: Path, name: str) -> None:
    """To the byte, on vLLM's own CPU backend."""
    command: list[str | Path] = [sys.executable, "-m", "tests.models.allocated", "float32", checkpoints / name]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr[-2000:]
    (found,) = (json.loads(line) for line in result.stdout.splitlines() if line.startswith("{"))
    footprint = read_checkpoint(checkpoints / name).served_as("float32")
    cache = footprint.shape.kv_cache_bytes(found["kv_cache_tokens"], in_flight=2048, dtype="float32")
    assert (footprint.weights_bytes, cache) == (found["weights_bytes"], found["kv_cache_bytes"])
    note(f"{name} in float32: {footprint.weights_bytes:,} bytes predicted, {found['weights_bytes']:,} allocated")


def test_weights_per_gpu(tmp_path: Path) -> None:
    footprint = read_checkpoint(model(tmp_path, LAYER))
    assert footprint.weights_bytes == FULL
    query, key_value, gate, norm, table = 8192, 4096, 512, 128, 16384
    assert (footprint.split_bytes, footprint.key_value_bytes) == (query, key_value)
    assert (footprint.whole_bytes, footprint.input_bytes, footprint.output_bytes) == (gate + norm, table, table)
    assert footprint.weights_bytes_per_gpu(2, 1) == (query + key_value + 2 * table) // 2 + gate + norm
    # Two KV heads: four GPUs replicate each of them twice.
    assert footprint.weights_bytes_per_gpu(4, 1) == query // 4 + key_value // 2 + 2 * table // 4 + gate + norm
    assert footprint.weights_bytes_per_gpu(1, 2) == (query + key_value + gate + norm) // 2 + table


def test_dtype_changes_the_size(tmp_path: Path) -> None:
    assert read_checkpoint(model(tmp_path, LAYER)).served_as("float32").weights_bytes == 2 * FULL
    in_float32 = {name: ("F32", shape) for name, (_, shape) in LAYER.items()}
    # vLLM serves a model that was saved in float32 in half the bytes.
    assert read_checkpoint(model(tmp_path / "f32", in_float32, torch_dtype="float32")).weights_bytes == FULL


def test_a_quantised_model_keeps_its_packed_weights(tmp_path: Path) -> None:
    packed = {
        **LAYER,
        "model.layers.0.self_attn.q_proj.weight": ("F8_E4M3", [64, 64]),
        "model.layers.0.self_attn.q_proj.weight_scale": ("F32", [64, 1]),
    }
    config = {"quantization_config": {"quant_method": "fp8"}}
    footprint = read_checkpoint(model(tmp_path, packed, **config))
    assert footprint.shape.quantization == "fp8"
    assert footprint.weights_bytes == FULL - 64 * 64 + 64 * 4
    assert footprint.served_as("float32").weights_bytes == footprint.weights_bytes
    unnamed = read_checkpoint(model(tmp_path / "gptq", packed, compression_config={}))
    assert unnamed.shape.quantization == "unknown"


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_is_counted_once(tmp_path: Path, tied: bool) -> None:
    footprint = read_checkpoint(model(tmp_path, LAYER, tie_word_embeddings=tied))
    assert footprint.output_bytes == (0 if tied else 16384)


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        ({}, 1024),
        ({"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, 4096),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, 2048),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 1024),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, 1024),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 512}, 512),
        ({"max_position_embeddings": None, "n_positions": 77}, 77),
    ],
)
def test_the_longest_context(tmp_path: Path, config: dict[str, object], longest: int) -> None:
    assert read_checkpoint(model(tmp_path, LAYER, **config)).shape.max_model_len == longest


@pytest.mark.parametrize("limit", [512, 4096, 1e30, "none", None])
def test_tokenizer_limit_is_ignored(tmp_path: Path, limit: object) -> None:
    """vLLM respects it only for embedding models."""
    folder = model(tmp_path, LAYER)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    assert read_checkpoint(folder).shape.max_model_len == 1024


@pytest.mark.parametrize(
    ("config", "sliding", "stateless"),
    [
        ({"sliding_window": 128}, 2, 0),
        ({"sliding_window": 128, "use_sliding_window": False}, 0, 0),
        ({"sliding_window": 128, "sliding_window_pattern": 2}, 1, 0),
        ({"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"]}, 1, 0),
        ({"layer_types": ["linear_attention", "full_attention"]}, 0, 1),
        ({"sliding_window": None}, 0, 0),
    ],
)
def test_layers_that_cache_less(tmp_path: Path, config: dict[str, object], sliding: int, stateless: int) -> None:
    shape = read_checkpoint(model(tmp_path, LAYER, **config)).shape
    assert (shape.sliding_layers, shape.stateless_layers) == (sliding, stateless)
    full = 2 * 2 * 16 * 2  # keys and values of two heads, in 16 bits
    cached = min(1024, 128 + 64) * sliding + 1024 * (2 - sliding - stateless)
    assert shape.kv_cache_bytes(1024, in_flight=64, dtype="bfloat16") == full * cached


def test_multimodal_model_is_planned_by_its_text_part(tmp_path: Path) -> None:
    text = {"num_attention_heads": 16, "num_key_value_heads": 4, "hidden_size": 64, "num_hidden_layers": 2}
    folder = model(tmp_path, LAYER, model_type="llava", text_config={**text, "vocab_size": 128})
    assert read_checkpoint(folder).shape.attention_heads == 16


def test_mistrals_second_copy_is_not_counted(tmp_path: Path) -> None:
    folder = model(tmp_path, LAYER)
    safetensors(folder / "consolidated.safetensors", LAYER)
    assert read_checkpoint(folder).weights_bytes == FULL


def test_weights_in_another_format_are_counted_by_their_files(tmp_path: Path) -> None:
    folder = model(tmp_path, LAYER)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(bytes(1000))
    assert read_checkpoint(folder).weights_bytes == 1000


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = model(tmp_path, LAYER)
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    safetensors(folder / "model-00001-of-00002.safetensors", LAYER)
    with pytest.raises(WeightsError, match=r"1 of 2 weights files are missing in .*model-00002-of-00002"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "has no config.json"),
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "[]", "no JSON object"),
        ("model.safetensors", None, "holds no weights"),
        ("model.safetensors", "short", "hold no whole header"),
        ("model.safetensors.index.json", "{", "index.json is damaged"),
    ],
)
def test_missing_or_damaged_files_are_named(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    folder = model(tmp_path, LAYER)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(WeightsError) as error:
        read_checkpoint(folder)
    assert message in error.value.message
