"""Plans for GPUs: suggestions if the model does not fit, and requirements for the host."""

from dataclasses import replace
from typing import Any

import pytest

from tests.planning.machines import gpu_error, gpu_plan, host, hypothetical_machine, open_need, profile_need


def test_replicas_that_do_not_fit() -> None:
    assert gpu_error(open_need(30, replicas="3"), hypothetical_machine("4xA10")).hint == "--replicas 2 would fit."


@pytest.mark.parametrize(
    ("given", "gpus", "hint"),
    [
        ({"max_model_len": 100000}, "1xA10", "--max-model-len "),
        ({"gpu_memory_utilization": 0.99}, "1xA10", "--gpu-memory-utilization 0.92 would fit."),
        ({"gpu_memory_utilization": 0.5}, "1xA10", "--gpu-memory-utilization 0.92 would fit."),
        ({"tensor_parallel_size": 1, "pipeline_parallel_size": 1}, "1xA4000", ""),
        ({"tensor_parallel_size": 1, "pipeline_parallel_size": 1}, "2xA4000", "--tensor-parallel-size 2 would fit."),
    ],
)
def test_error_suggests_an_option_that_would_fit(given: dict[str, Any], gpus: str, hint: str) -> None:
    assert gpu_error(open_need(16, **given), hypothetical_machine(gpus)).hint.startswith(hint)


def test_a_container_too_small_for_the_processes_is_an_error() -> None:
    machine = replace(hypothetical_machine("4xA10"), host=host(256, limit_gb=10))
    assert "may use 10.0 GB" in gpu_error(profile_need("medium"), machine).message
    gpu_plan(profile_need("medium"), replace(machine, host=host(256, limit_gb=20)))
