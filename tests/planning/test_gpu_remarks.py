"""The sentences about a plan: warnings, and reasons for unused GPUs."""

from dataclasses import replace

import pytest

from tests.planning.machines import gpu_plan, host, hypothetical_machine, open_need, profile_need


def test_pipeline_parallelism_warns_of_latency() -> None:
    assert any("more slowly" in each for each in gpu_plan(open_need(55), hypothetical_machine("3xA10")).warnings)
    assert not any("more slowly" in each for each in gpu_plan(open_need(55), hypothetical_machine("4xA10")).warnings)


def test_slow_links_are_warned_of() -> None:
    assert any("without NVLink" in each for each in gpu_plan(open_need(30), hypothetical_machine("2xA10")).warnings)
    assert not any(
        "without NVLink" in each for each in gpu_plan(open_need(60), hypothetical_machine("2xA100-40GB")).warnings
    )


def test_unused_gpus_have_a_reason() -> None:
    result = gpu_plan(open_need(16), hypothetical_machine("1xT4,3xA10"))
    assert [(each.label, each.reason) for each in result.rejected] == [
        ("GPU 0 (Tesla T4)", "compute capability 7.5, 8.0 is needed"),
        ("GPU 2 (NVIDIA A10)", "not needed"),
        ("GPU 3 (NVIDIA A10)", "not needed"),
    ]
    assert "Idle: 2 GPUs of this kind; --replicas auto starts more replicas on them." in result.warnings


@pytest.mark.parametrize(
    ("limit", "memory", "warns"), [(None, 256, False), (40, 256, False), (20, 256, True), (None, 24, True)]
)
def test_host_memory_is_a_warning(limit: float | None, memory: float, warns: bool) -> None:
    machine = replace(hypothetical_machine("1xA10"), host=host(memory, limit_gb=limit))
    result = gpu_plan(profile_need("small"), machine)
    assert any("should have 32.0 GB" in each for each in result.warnings) == warns


def test_little_shared_memory_is_a_warning_with_several_cards() -> None:
    machine = replace(hypothetical_machine("2xA10"), host=replace(host(256), shared_memory_bytes=64 << 20))
    assert any("/dev/shm" in each for each in gpu_plan(open_need(30), machine).warnings)
    assert not any("/dev/shm" in each for each in gpu_plan(open_need(16), machine).warnings)


@pytest.mark.parametrize(
    ("gpus", "weights", "split"),
    [
        ("1xA10", 16, "over 1 of 1 GPU, the fewest that hold all 4096 tokens."),
        ("1xA10,1xL4", 16, "over 1 of 1 GPU of the kind NVIDIA L4, the fewest that hold all 4096 tokens."),
        ("2xA10", 30, "over 2 of 2 GPUs, the fewest that hold all 4096 tokens."),
    ],
)
def test_a_split_agrees_with_the_number_of_gpus(gpus: str, weights: float, split: str) -> None:
    assert gpu_plan(open_need(weights), hypothetical_machine(gpus)).split == split
