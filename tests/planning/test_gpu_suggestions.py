"""GPUs that would hold a model."""

from dataclasses import replace
from typing import Any

import pytest

from maritalk_vllm.hardware.gpu_catalog import find_gpu, gpu_models
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


def test_the_likely_cheapest_hardware_comes_first() -> None:
    """Fewest GPUs, then the least memory, by the size that they are sold with; of one size, rented ones, then old ones.

    An A40 reports 48.3 GB and an A6000 51.5 GB; an A100 85.9 GB and an H100, which is newer, 85.5 GB.
    """
    names = ("H100", "A6000", "A100-80GB-PCIe", "A100-80GB", "A40", "L40S", "RTX-4090", "L4", "A10", "A30", "RTX-4080")
    catalogue = [gpu for gpu in gpu_models() if gpu.short_name in names]
    assert list(map(str, suggestions(open_need(16, SHORT_8B), catalogue))) == [
        *("1 x A10", "1 x L4", "1 x A30", "1 x RTX-4090", "1 x L40S", "1 x A40", "1 x A6000"),
        *("1 x A100-80GB", "1 x H100", "1 x A100-80GB-PCIe", "2 x RTX-4080"),
    ]


def test_nothing_is_suggested_without_a_size_or_a_fit() -> None:
    assert suggest_gpus(unknown_need(), [A100]) == ""
    assert suggest_gpus(open_need(900), [A10, A100]) == ""
