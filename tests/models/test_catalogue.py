"""The catalogue of open models in configs/models/."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from maritalk_vllm import config_files
from maritalk_vllm.models import profile
from maritalk_vllm.models.architecture import BYTES
from maritalk_vllm.models.catalogue import BITS_PER_WEIGHT, RECOMMENDED, CatalogueModel, catalogue, find
from maritalk_vllm.models.memory_footprint import llama_footprint
from maritalk_vllm.models.profile import MIN_COMPUTE_CAPABILITY

MODELS = catalogue()
CHECKPOINTS = {each.full_name: each for model in MODELS.values() for each in model.checkpoints}
QUANTIZED = {name: each for name, each in CHECKPOINTS.items() if each.variant is not None}

_SECOND_EMBEDDING = 151936 * 2560 * 2
"""Bytes that the files of the quantized Qwen3 4B have and vLLM does not load: the head, which is the embedding."""

LOADED_BYTES = {
    # vLLM's "model loading took", published with a benchmark of Qwen3-8B-FP8, and by another AWQ quantization.
    "qwen3-8b:fp8": 8.79 * 2**30,
    "qwen3-8b:w4a16": 5.68 * 2**30,
    # Sizes of the files on Hugging Face.
    "qwen3-4b:fp8": 5_190_053_264 - _SECOND_EMBEDDING,
    "qwen3-4b:w4a16": 3.43e9 - _SECOND_EMBEDDING,
}

# In vllm/model_executor/layers/quantization: FP8 (Qwen's and Red Hat's on older GPUs), and AWQ and GPTQ.
_QUANTIZATION_CLASSES = {
    "fp8.py": "Fp8Config",
    "auto_awq.py": "AutoAWQConfig",
    "compressed_tensors/schemes/compressed_tensors_w8a16_fp8.py": "CompressedTensorsW8A16Fp8",
    "compressed_tensors/schemes/compressed_tensors_wNa16.py": "CompressedTensorsWNA16",
}


def vllm_folder() -> Path:
    spec = find_spec("vllm")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def test_every_file_is_found_by_its_own_name() -> None:
    assert sorted(MODELS) == sorted(config_files.names("models"))
    assert all(find(name) == model and model.name == name for name, model in MODELS.items())
    assert find("nothing") is None and find("../small") is None


def test_no_name_means_a_profile_as_well() -> None:
    assert not [name for name in MODELS if profile.find(name)]


def test_smallest_come_first() -> None:
    sizes = [model.parameters for model in MODELS.values()]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_shape_has_the_published_number_of_parameters(model: CatalogueModel) -> None:
    """The shape is from config.json and the number from the model card, so that one of them wrong does not pass."""
    vision = 419_816_304 if model.name == "gemma-3-4b" else 0  # SigLIP 416,866,032, and its projector
    counted = llama_footprint(model.shape, tied=model.tied).weights_bytes / BYTES[model.shape.dtype]
    assert counted == pytest.approx(model.parameters - vision, rel=2e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_footprint_counts_all_parameters(model: CatalogueModel) -> None:
    assert model.footprint.weights_bytes == pytest.approx(2 * model.parameters, rel=1e-4)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_facts_are_usable(model: CatalogueModel) -> None:
    for each in model.checkpoints:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", each.hub_name)
        assert each.revision is None or re.fullmatch(r"[0-9a-f]{40}", each.revision)
    assert "pt" in model.languages
    parsers = (vllm_folder() / "tool_parsers" / "__init__.py").read_text()
    assert model.tool_call_parser is None or f'"{model.tool_call_parser}": (' in parsers


def test_recommended_model_asks_for_no_acceptance_and_can_chat() -> None:
    model = MODELS[RECOMMENDED]
    assert not model.must_be_accepted and not model.is_base


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_each_checkpoint_has_a_name_of_its_own_and_the_smaller_come_later(model: CatalogueModel) -> None:
    unquantized, *others = model.checkpoints
    assert unquantized.full_name == f"{model.name}:bf16" and unquantized.label == model.name
    assert unquantized.footprint == model.footprint
    for each, variant in zip(others, model.variants, strict=True):
        assert each.label == each.full_name == f"{model.name}:{variant.quantization}"
        assert (each.hub_name, each.revision, each.variant) == (variant.hub_name, variant.revision, variant)
    assert all(find(each.full_name) == each and not each.variants for each in model.checkpoints)
    sizes = [each.footprint.weights_bytes for each in model.checkpoints]
    assert sizes == sorted(set(sizes), reverse=True)
    assert find(f"{model.name}:int2") is None and find(f"{model.name}:") is None


@pytest.mark.parametrize("checkpoint", QUANTIZED.values(), ids=QUANTIZED)
def test_a_quantized_checkpoint_keeps_embedding_head_and_norms_in_16_bits(checkpoint: CatalogueModel) -> None:
    model, quantized = MODELS[checkpoint.name].footprint, checkpoint.footprint
    assert checkpoint.variant is not None
    share = BITS_PER_WEIGHT[checkpoint.variant.quantization] / 16
    for part in ("split_bytes", "key_value_bytes"):
        assert getattr(quantized, part) == int(getattr(model, part) * share)
    for part in ("whole_bytes", "input_bytes", "output_bytes"):
        assert getattr(quantized, part) == getattr(model, part)
    assert quantized.shape.dtype == "bfloat16" and quantized.shape.quantization is not None


@pytest.mark.parametrize("name", LOADED_BYTES)
def test_size_of_a_quantized_checkpoint_is_the_published_one(name: str) -> None:
    assert CHECKPOINTS[name].footprint.weights_bytes == pytest.approx(LOADED_BYTES[name], rel=0.01)


@pytest.mark.parametrize("file", _QUANTIZATION_CLASSES)
def test_vllm_serves_every_quantization_on_each_supported_gpu(file: str) -> None:
    """So that a variant needs no compute capability of its own."""
    tree = ast.parse((vllm_folder() / "model_executor/layers/quantization" / file).read_text())
    (lowest,) = (
        ast.literal_eval(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name == _QUANTIZATION_CLASSES[file]
        for function in node.body
        if isinstance(function, ast.FunctionDef) and function.name == "get_min_capability"
        for statement in function.body
        if isinstance(statement, ast.Return) and statement.value is not None
    )
    assert divmod(lowest, 10) <= MIN_COMPUTE_CAPABILITY
