"""The method of a model's quantization, and the blocks of weights that vLLM cannot divide between GPUs."""

from pathlib import Path
from typing import Any

import pytest

from maritalk_vllm.models.architecture_config import read_shape
from maritalk_vllm.models.catalogue import find
from maritalk_vllm.models.memory_footprint import llama_footprint
from tests.models.files import LLAMA

GROUPS = {"group_0": {"weights": {"num_bits": 4, "group_size": 64}}, "group_1": {"weights": None}}
BLOCKS = {"group_0": {"weights": {"strategy": "block", "block_structure": [128, 128], "group_size": None}}}


@pytest.mark.parametrize(
    ("config", "method", "block"),
    [
        ({}, None, 1),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "fp8", 128),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8", 1),
        ({"quantization_config": {"quant_method": "awq", "group_size": 64}}, "awq", 64),
        ({"quantization_config": {"quant_method": "gptq", "group_size": -1}}, "gptq", 1),
        ({"quantization_config": {"quant_method": "x", "config_groups": GROUPS}}, "x", 64),
        ({"compression_config": {"config_groups": BLOCKS}}, "unknown", 128),
        ({"quantization_config": {"quant_method": "awq", "group_size": 64}, "num_experts": 8}, "awq", 1),
    ],
)
def test_method_and_block_of_a_configuration(
    config: dict[str, Any], method: str | None, block: int, tmp_path: Path
) -> None:
    shape = read_shape({**LLAMA, **config}, tmp_path / "config.json")
    assert (shape.quantization, shape.quantization_block) == (method, block)


@pytest.mark.parametrize("name", ["qwen3-4b:fp8", "qwen3-4b:w4a16"])
def test_blocks_are_not_divided_between_gpus(name: str) -> None:
    """Of its 9728 columns, eight GPUs would get 9.5 blocks of 128 each."""
    model = find(name)
    assert model is not None
    assert model.footprint.tensor_parallel_sizes(8) == [1, 2, 4]
    assert model.footprint.why_not_divisible(8) == (
        "8 does not divide its MLP of 9728 into whole blocks of 128 quantized weights"
    )
    assert llama_footprint(model.shape, tied=True).tensor_parallel_sizes(8) == [1, 2, 4, 8]
