"""Plans for several machines."""

from dataclasses import replace
from typing import Any

import pytest

from maritalk_vllm.errors import DoesNotFit
from maritalk_vllm.hardware.gpu_catalog import gpu_models
from maritalk_vllm.planning.gpu_suggestions import suggest_gpus
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.plan_report import report, summary
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device
from tests.planning.machines import LLAMA_8B, cpu, hypothetical_machine, open_need, profile_need, unknown_need


def plan(requirements: ModelRequirements, gpus: str) -> Plan:
    return make_plan(requirements, hypothetical_machine(gpus), Device.AUTO, Device.CUDA)


def parallel_sizes(result: Plan) -> tuple[int, int, int]:
    return result.tensor_parallel_size, result.pipeline_parallel_size, len(result.gpus)


HEADS_9 = replace(LLAMA_8B, attention_heads=9, key_value_heads=3, vocabulary_size=49152)


@pytest.mark.parametrize(
    ("requirements", "gpus", "expected"),
    [
        (open_need(16, nodes=2), "1xA10", (1, 2, 1)),
        (open_need(16, nodes=2), "4xA10", (4, 2, 4)),
        (open_need(16, nodes=3), "4xA10", (4, 3, 4)),
        (open_need(16, nodes=2), "3xA10", (2, 2, 2)),  # 3 does not divide its heads
        (open_need(16, HEADS_9, nodes=2), "4xA10", (3, 2, 3)),
        (open_need(150, nodes=4), "2xA10", (2, 4, 2)),
        (open_need(100, HEADS_9, nodes=2), "4xA10", (3, 2, 3)),
        (open_need(130, HEADS_9, nodes=2), "4xA10", (1, 8, 4)),  # more stages, since three GPUs per node are too few
        (open_need(16, nodes=2, tensor_parallel_size=2), "4xA10", (2, 2, 2)),
        (open_need(16, nodes=2, tensor_parallel_size=2, pipeline_parallel_size=4), "4xA10", (2, 4, 4)),
        (open_need(16, nodes=2, pipeline_parallel_size=1), "4xA10", (8, 1, 4)),
        (open_need(16, nodes=2, pipeline_parallel_size=1, tensor_parallel_size=2), "4xA10", (2, 1, 1)),
        (unknown_need(nodes=2), "4xA10", (1, 2, 1)),
        (unknown_need(nodes=2, tensor_parallel_size=4), "4xA10", (4, 2, 4)),
    ],
)
def test_tensor_parallel_within_a_node_and_pipeline_parallel_across(
    requirements: ModelRequirements, gpus: str, expected: tuple[int, int, int]
) -> None:
    result = plan(requirements, gpus)
    assert parallel_sizes(result) == expected
    assert result.workers == result.nodes * result.workers_per_node == result.nodes * len(result.gpus)
    assert result.data_parallel_size == 1


@pytest.mark.parametrize(
    ("given", "gpus", "message"),
    [
        ({}, "1xA10", "needs 70.0 GB of GPU memory on cards of one kind; 2 nodes of 1 x NVIDIA A10 have 48.3 GB"),
        ({"pipeline_parallel_size": 3}, "4xA10", "2 nodes cannot share 1 tensor x 3 pipeline parallel evenly."),
        ({"tensor_parallel_size": 16}, "4xA10", "needs 16 cards of one kind, and there are 2 nodes of 4 x NVIDIA A10"),
        ({"tensor_parallel_size": 8}, "4xA10", "tensor-parallel degrees that work are 1, 2, 4."),
        ({"tensor_parallel_size": 3}, "4xA10", "3 does not divide its 32 attention heads"),
        ({"pipeline_parallel_size": 64}, "40xA10", "has 60 layers, too few for --pipeline-parallel-size 64."),
        (
            {"tensor_parallel_size": 1, "pipeline_parallel_size": 1},
            "4xA10",
            "cannot be split over 2 nodes of 4 x NVIDIA A10 as asked",
        ),
        (
            {"max_model_len": 900_000},
            "4xA10",
            "The nearest: 2 nodes of 4 x NVIDIA A10 (4 tensor x 2 pipeline parallel)",
        ),
    ],
)
def test_errors_describe_all_nodes(given: dict[str, object], gpus: str, message: str) -> None:
    with pytest.raises(DoesNotFit) as caught:
        plan(profile_need("medium", nodes=2, **given), gpus)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("weights", "gpus", "expected", "context"),
    [
        # 131072 tokens take 17.2 GB of KV cache: 8.6 GB per GPU with two stages, 2.1 GB with 8 GPUs.
        (16, "1xA10", (1, 2, 1), 131072),
        (32, "1xA10", (1, 2, 1), None),
        (32, "2xA10", (2, 2, 2), 131072),
        (66, "2xA10", (2, 2, 2), None),
        (66, "4xA10", (4, 2, 4), 131072),
    ],
)
def test_whole_context_over_several_nodes(
    weights: float, gpus: str, expected: tuple[int, int, int], context: int | None
) -> None:
    result = plan(open_need(weights, LLAMA_8B, nodes=2), gpus)
    assert parallel_sizes(result) == expected
    if context is None:
        assert result.max_model_len is not None and 4096 <= result.max_model_len < 131072
        assert f"which hold {result.max_model_len} of 131072 tokens: no split" in result.split
    else:
        assert result.max_model_len == context
        assert result.split.endswith("the fewest stages that hold all 131072 tokens.")


def test_suggestions_are_for_one_machine() -> None:
    assert suggest_gpus(profile_need("medium", nodes=2), gpu_models()) == suggest_gpus(
        profile_need("medium"), gpu_models()
    )


def test_memory_is_the_total_of_all_nodes() -> None:
    two, one = plan(open_need(16, nodes=2), "1xA10"), plan(open_need(16, pipeline_parallel_size=2), "2xA10")
    assert two.memory == one.memory
    assert two.max_concurrency == one.max_concurrency
    assert two.memory.per_gpu_bytes <= two.gpus[0].memory_free_bytes


def test_report_of_a_multi_node_plan() -> None:
    result = plan(profile_need("medium", nodes=2), "4xA10")
    assert summary(result)[0].startswith("Plan: 2 nodes of 4 x NVIDIA A10, tensor parallel 4, pipeline parallel 2; ")
    lines = report(result)
    assert lines[0] == "MariTalk Medium fits: 2 nodes of 4 x NVIDIA A10, tensor parallel 4, pipeline parallel 2."
    assert lines[1] == ("Split: over 4 of 4 GPUs, on each of 2 nodes, the fewest stages that hold all 8000 tokens.")
    assert lines[3] == "On each of the 2 nodes:"
    assert "  The other nodes are assumed to have the same cards, with as much memory free." in lines
    assert any("spread over 2 nodes (pipeline parallel 2)" in line for line in lines)
    shared = plan(profile_need("medium", nodes=2, pipeline_parallel_size=1), "4xA10")
    assert any(line.startswith("Each layer is shared between nodes") for line in shared.warnings)
    assert any(
        line.startswith("Idle: 2 GPUs of this kind on each node")
        for line in plan(unknown_need(nodes=2), "3xA10").warnings
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (1, 2, 1)),
        ({"tensor_parallel_size": 2}, (2, 2, 2)),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 1}, (2, 1, 1)),
    ],
)
def test_on_cpus(given: dict[str, Any], expected: tuple[int, int, int]) -> None:
    result = make_plan(open_need(1, nodes=2, **given), cpu(64, cores=4), Device.CPU, Device.CPU)
    assert (result.tensor_parallel_size, result.pipeline_parallel_size, result.workers_per_node) == expected
    assert len(result.cores) == result.workers_per_node
    assert sum(map(len, result.cores)) == 4
    assert "of each of 2 nodes" in summary(result)[0]
    assert result.warnings == ("The other nodes are assumed to have as many cores, and as much memory free.",)


def test_cpu_nodes_reject_an_uneven_split() -> None:
    with pytest.raises(DoesNotFit, match="2 nodes cannot share 1 tensor x 3 pipeline parallel evenly"):
        make_plan(open_need(1, nodes=2, pipeline_parallel_size=3), cpu(64, cores=4), Device.CPU, Device.CPU)
