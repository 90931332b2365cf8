"""Which files are weights, compared with vLLM's own selection, and their sizes."""

import json
import subprocess
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import pytest

from maritalk_vllm.engine.vllm_arguments import engine_arguments
from maritalk_vllm.errors import WeightsError
from maritalk_vllm.hardware.gpu_catalog import hypothetical_machine
from maritalk_vllm.models.checkpoint import read_checkpoint
from maritalk_vllm.models.weights_files import weights_files
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device, Settings
from tests.models.files import MISTRAL, model, safetensors
from tests.serving import note

ROOT = Path(__file__).resolve().parents[2]
INDEX = "model.safetensors.index.json"
HALF = {"model.layers.0.mlp.up_proj.weight": ("BF16", [64, 64])}
OTHER = {"model.layers.1.mlp.up_proj.weight": ("BF16", [64, 64])}

LAYOUTS = {
    "one": ["model.safetensors"],
    "macos": ["model.safetensors", "._model.safetensors", ".DS_Store", "__MACOSX/._model.safetensors"],
    "trainer": ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"],
    "trainer-of-pickles": ["pytorch_model.bin", "optimizer.pt", "training_args.bin", "optimizer.bin"],
    "pickles": ["pytorch_model-1.bin", "pytorch_model-2.bin", "._pytorch_model-1.bin"],
    "both": ["model.safetensors", "pytorch_model.bin"],
    "torch": ["model.pt", "optimizer.pt", "scaler.pt"],
    "optimizer-alone": ["optimizer.pt", "training_args.bin"],
    "shards-and-more": ["a.safetensors", "b.safetensors", "other.safetensors", f"{INDEX}:a,b"],
    "a-shard-missing": ["a.safetensors", f"{INDEX}:a,b"],
    "all-shards-missing": [f"{INDEX}:a,b"],
    "mistral": ["consolidated.safetensors"],
    "mistral-and-shards": ["consolidated-1.safetensors", "a.safetensors", f"{INDEX}:a"],
    "mistral-below": ["model.safetensors", "original/consolidated.safetensors"],
    "nothing": ["tokenizer.json"],
}


def create_layout(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        path, _, shards = name.partition(":")
        (folder / path).parent.mkdir(exist_ok=True)
        index = {"weight_map": {shard: f"{shard}.safetensors" for shard in shards.split(",")}}
        (folder / path).write_text(json.dumps(index) if shards else "x")
    return folder


@pytest.mark.engine
def test_same_files_as_vllms_loader(tmp_path: Path) -> None:
    for name, files in LAYOUTS.items():
        create_layout(tmp_path / name, files)
    command: list[str | Path] = [sys.executable, "-m", "tests.models.as_vllm_selects", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    entries = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    mismatches = defaultdict(list)
    for each in entries:
        try:
            ours = sorted(file.name for file in weights_files(tmp_path / each["name"], each["format"]).files)
        except WeightsError:
            ours = []
        if ours != each.get("files", []):
            mismatches[each["name"]].append((each["format"], ours, each.get("files", each.get("error"))))
    note(f"{len(entries)} choices of weights compared with vLLM's loader: {sum(map(len, mismatches.values()))} differ")
    assert not mismatches
    assert len(entries) == 6 * len(LAYOUTS)


@pytest.mark.parametrize("junk", ["._model.safetensors", ".model.safetensors", "optimizer.pt", "training_args.bin"])
def test_files_other_than_weights_are_not_counted(tmp_path: Path, junk: str) -> None:
    folder = model(tmp_path, HALF)
    alone = read_checkpoint(folder)
    (folder / junk).write_bytes(bytes(5000))
    assert read_checkpoint(folder) == alone


def test_only_files_of_the_index_count(tmp_path: Path) -> None:
    folder = model(tmp_path, HALF)
    safetensors(folder / "copy.safetensors", OTHER)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "model.safetensors"}}))
    assert read_checkpoint(folder).weights_bytes == 64 * 64 * 2


def pickled(file: Path, *storages: str, size: int = 4000) -> None:
    globals_ = b"".join(b"ctorch\n" + name.encode() + b"\n0" for name in storages)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pytorch_model/data.pkl", b"\x80\x02" + globals_ + b"N.")
        archive.writestr("pytorch_model/data/0", bytes(size))


@pytest.mark.parametrize(
    ("storages", "config", "share"),
    [
        (["FloatStorage"], {"torch_dtype": "float32"}, 0.5),
        (["FloatStorage"], {"torch_dtype": "bfloat16"}, 0.5),
        (["HalfStorage"], {"torch_dtype": "float32"}, 1),
        (["BFloat16Storage", "LongStorage"], {"torch_dtype": None}, 1),
        (["FloatStorage", "HalfStorage"], {"torch_dtype": "float32"}, 0.5),
        ([], {"torch_dtype": None}, 0.5),
        (["FloatStorage"], {"torch_dtype": "float32", "quantization_config": {"quant_method": "gptq"}}, 1),
    ],
)
def test_pickles_are_counted_in_the_served_dtype(
    tmp_path: Path, storages: list[str], config: dict[str, object], share: float
) -> None:
    folder = model(tmp_path, HALF, **config)
    (folder / "model.safetensors").unlink()
    pickled(folder / "pytorch_model.bin", *storages)
    size = (folder / "pytorch_model.bin").stat().st_size
    assert read_checkpoint(folder).weights_bytes == int(size * share)


OF_MISTRAL = {
    "tok_embeddings.weight": ("BF16", [128, 64]),
    "layers.0.attention.wk.weight": ("BF16", [32, 64]),
    "output.weight": ("BF16", [128, 64]),
}


@pytest.mark.parametrize(
    ("params", "longest", "sliding"),
    [
        ({}, 128_000, 0),
        ({"max_seq_len": 32768}, 32768, 0),
        ({"max_position_embeddings": 4096}, 4096, 0),
        ({"sliding_window": 4096}, 128_000, 2),
        ({"sliding_window": [4096, None]}, 128_000, 1),
        ({"yarn": {"factor": 4, "original_max_position_embeddings": 8192}}, 128_000, 0),
    ],
)
def test_mistrals_own_layout(tmp_path: Path, params: dict[str, object], longest: int, sliding: int) -> None:
    (tmp_path / "params.json").write_text(json.dumps({**MISTRAL, **params}))
    safetensors(tmp_path / "consolidated.safetensors", OF_MISTRAL)
    footprint = read_checkpoint(tmp_path)
    shape = footprint.shape
    assert (shape.layers, shape.attention_heads, shape.key_value_heads, shape.head_size) == (2, 4, 2, 16)
    assert (shape.hidden_size, shape.vocabulary_size, shape.intermediate_size) == (64, 128, 128)
    assert (shape.max_model_len, shape.sliding_layers, shape.unknown) == (longest, sliding, ())
    assert footprint.weights_bytes == 2 * (128 * 64 * 2 + 32 * 64)


def test_mistral_layout_next_to_hugging_face_layout(tmp_path: Path) -> None:
    folder = model(tmp_path, HALF, max_position_embeddings=777)
    (folder / "params.json").write_text(json.dumps(MISTRAL))
    assert read_checkpoint(folder).shape.max_model_len == 777  # from config.json, which describes these weights
    safetensors(folder / "consolidated.safetensors", OF_MISTRAL)
    footprint = read_checkpoint(folder)
    assert footprint.shape.max_model_len == 777  # from config.json, since params.json has none
    assert footprint.weights_bytes == 2 * (128 * 64 * 2 + 32 * 64)


def test_unknown_length_is_not_passed_to_vllm(tmp_path: Path) -> None:
    tensors = {"model.layers.0.self_attn.k_proj.weight": ("BF16", [32, 64])}
    sizes = {"num_attention_heads": 4, "num_hidden_layers": 1, "hidden_size": 64, "vocab_size": 128}
    folder = model(tmp_path, tensors)
    (folder / "config.json").write_text(json.dumps({"model_type": "of-remote-code", **sizes}))
    for config in (Settings(model=str(folder)), Settings(model=str(folder), max_model_len=2048)):
        requirements = ModelRequirements.from_settings("x", read_checkpoint(folder), None, config)
        plan = make_plan(requirements, hypothetical_machine("1xA10"), Device.CUDA, Device.CUDA)
        given = "--max-model-len" in engine_arguments(plan, "x", str(folder), [], None)
        assert given == (config.max_model_len is not None)
        assert any("does not give its context length" in each for each in plan.warnings) != given


def test_missing_sizes_are_derived_from_the_tensors(tmp_path: Path) -> None:
    tensors = {
        "model.embed_tokens.weight": ("BF16", [128, 64]),
        **{f"model.layers.{at}.self_attn.q_proj.weight": ("BF16", [64, 64]) for at in range(3)},
        **{f"model.layers.{at}.self_attn.k_proj.weight": ("BF16", [32, 64]) for at in range(3)},
        "vision_model.encoder.layers.9.self_attn.k_proj.weight": ("BF16", [8, 8]),
    }
    folder = model(tmp_path, tensors)
    (folder / "config.json").write_text(json.dumps({"model_type": "of-remote-code", "torch_dtype": "bfloat16"}))
    shape = read_checkpoint(folder).shape
    assert (shape.layers, shape.vocabulary_size, shape.hidden_size) == (3, 128, 64)
    assert shape.unknown == ("attention_heads", "key_value_heads", "head_size")
    requirements = ModelRequirements.from_settings("x", read_checkpoint(folder), None, Settings(model=str(folder)))
    plan = make_plan(requirements, hypothetical_machine("1xA10"), Device.CUDA, Device.CUDA)
    assert not plan.checked
    assert any("say its attention heads, key value heads, head size" in each for each in plan.warnings)
    assert (shape.max_model_len, shape.context_limit) == (None, None)
    assert shape.kv_cache_bytes(16, in_flight=0, dtype="bfloat16") == 3 * 16 * 2 * 32 * 2
    (folder / "config.json").write_text(json.dumps({"model_type": "of-remote-code", "num_attention_heads": 4}))
    shape = read_checkpoint(folder).shape
    assert (shape.attention_heads, shape.key_value_heads, shape.head_size, shape.unknown) == (4, 4, 16, ())
    requirements = ModelRequirements.from_settings("x", read_checkpoint(folder), None, Settings(model=str(folder)))
    assert make_plan(requirements, hypothetical_machine("1xA10"), Device.CUDA, Device.CUDA).checked
