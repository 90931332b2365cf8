"""GPUs that would hold a model."""

from dataclasses import replace
from typing import Any

import pytest

from maritalk_vllm.hardware.gpu_catalog import find_gpu
from maritalk_vllm.planning.gpu_suggestions import suggest_gpus, suggestions
from tests.planning.machines import SHORT_8B, open_need, unknown_need

A10, A100 = find_gpu("A10"), find_gpu("A100-40GB")
ODD_HEADS = replace(SHORT_8B, attention_heads=25, key_value_heads=1)
"""No number of GPUs from 2 to 4 divides the heads."""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["1 x A100-40GB"]),  # two A10 would hold it as a pipeline
        ({"pipeline_parallel_size": 2}, ["2 x A10", "2 x A100-40GB"]),
        ({"nodes": 2}, ["1 x A100-40GB"]),
    ],
)
def test_suggestions_have_no_pipeline_unless_asked(given: dict[str, Any], expected: list[str]) -> None:
    assert list(map(str, suggestions(open_need(28, ODD_HEADS, **given), [A10, A100]))) == expected


def test_nothing_is_suggested_without_a_size_or_a_fit() -> None:
    assert suggest_gpus(unknown_need(), [A100]) == ""
    assert suggest_gpus(open_need(900), [A10, A100]) == ""
