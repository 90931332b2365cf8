"""Errors for a model that does not fit."""

from dataclasses import replace

import pytest

from maritalk_vllm.models.architecture import ModelArchitecture
from tests.planning.machines import (
    GB,
    LLAMA_8B,
    GpuProcess,
    gpu_error,
    gpu_plan,
    hypothetical_machine,
    open_need,
    parallel_sizes,
    with_free,
)

HEADS_9 = replace(LLAMA_8B, attention_heads=9, key_value_heads=3, vocabulary_size=49152)
KV_6 = replace(LLAMA_8B, attention_heads=24, key_value_heads=6)
ODD_VOCABULARY = replace(LLAMA_8B, attention_heads=60, key_value_heads=60, vocabulary_size=64 * 101)


@pytest.mark.parametrize(
    ("shape", "works", "not_with"),
    [
        (LLAMA_8B, [1, 2, 4, 8], {3: "32 attention heads", 5: "32 attention heads"}),
        (HEADS_9, [1, 3], {2: "9 attention heads", 9: "padded vocabulary of 49152"}),
        (KV_6, [1, 2, 3, 6], {4: "6 KV heads", 8: "6 KV heads"}),
        (ODD_VOCABULARY, [1, 2, 4], {3: "padded vocabulary of 6464", 5: "padded vocabulary"}),
    ],
    ids=["llama", "heads", "kv-heads", "vocabulary"],
)
def test_tensor_parallel_size_has_to_divide_the_model(
    shape: ModelArchitecture, works: list[int], not_with: dict[int, str]
) -> None:
    for size in works:
        result = gpu_plan(
            open_need(1, shape, tensor_parallel_size=size, max_model_len=4096), hypothetical_machine("9xA10")
        )
        assert parallel_sizes(result) == (size, 1, 1)
    for size, why in not_with.items():
        error = gpu_error(open_need(1, shape, tensor_parallel_size=size), hypothetical_machine("9xA10"))
        assert f"--tensor-parallel-size {size}" in error.message
        assert why in error.message
        assert error.hint == f"Degrees that work: {', '.join(map(str, works))}."


def test_error_names_the_processes_that_hold_memory() -> None:
    busy = with_free(hypothetical_machine("1xA10"), 4.0, process=GpuProcess(4711, "python3", 19 * GB))
    error = gpu_error(open_need(16), busy)
    assert "python3 (4711) holds 19.0 GB" in error.message
    assert "short" in error.message


def test_error_names_the_gpu_that_lacks_least() -> None:
    error = gpu_error(open_need(16, tensor_parallel_size=1), with_free(hypothetical_machine("3xA10"), 4.0, 8.0, 6.0))
    assert "GPU 1 (NVIDIA A10) offers" in error.message


def test_more_gpus_requested_than_available() -> None:
    error = gpu_error(open_need(16, tensor_parallel_size=8), hypothetical_machine("2xA10,1xL4"))
    assert error.message == "--tensor-parallel-size 8 needs 8 cards of one kind, and there are 2 x NVIDIA A10."
    assert error.hint == "Tensor-parallel degrees that work: 1, 2."
