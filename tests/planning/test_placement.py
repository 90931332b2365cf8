"""Number and choice of GPUs for a model: cases on both sides of each rule."""

from dataclasses import replace

import pytest

from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.models.architecture import ModelArchitecture
from maritalk_vllm.planning.placement import NoPlacement, Placement, find_placement
from maritalk_vllm.planning.plan import Outcome
from tests.planning.machines import (
    GB,
    LLAMA_8B,
    gpu_error,
    gpu_plan,
    hypothetical_machine,
    indices,
    open_need,
    parallel_sizes,
    unknown_need,
    with_free,
)


@pytest.mark.parametrize(
    ("weights", "gpus", "expected"),
    [
        (16, "1xA10", (1, 1, 1)),
        (19.4, "8xA10", (1, 1, 1)),
        (22, "8xA10", (2, 1, 1)),
        (38, "8xA10", (2, 1, 1)),
        (42, "8xA10", (4, 1, 1)),
        (55, "3xA10", (1, 3, 1)),
        (110, "6xA10", (2, 3, 1)),
        (150, "8xA10", (8, 1, 1)),
    ],
)
def test_smallest_split_that_fits(weights: float, gpus: str, expected: tuple[int, int, int]) -> None:
    result = gpu_plan(open_need(weights), hypothetical_machine(gpus))
    assert parallel_sizes(result) == expected
    assert len(result.gpus) == expected[0] * expected[1]


# 131072 bytes of KV cache per token, split like the weights. The sums below decide by a margin of more than 1 GB, after
# 2 to 5 GB of overhead per GPU and 8% of its memory.
LLAMA_70B = replace(LLAMA_8B, attention_heads=64, layers=80, hidden_size=8192, intermediate_size=28672)
GQA_1 = replace(LLAMA_8B, attention_heads=25, key_value_heads=1)


@pytest.mark.parametrize(
    ("weights", "shape", "gpus", "expected", "context"),
    [
        # One GPU holds everything: only that one is used, however many there are.
        (16, LLAMA_8B, "8xA100-80GB", (1, 1, 1), 131072),
        (16, LLAMA_8B, "8xA100-40GB", (1, 1, 1), 131072),
        # 16 + 17.2 GB: two GPUs of 24 GB, and no more.
        (16, LLAMA_8B, "1xA10", (1, 1, 1), None),
        (16, LLAMA_8B, "2xA10", (2, 1, 1), 131072),
        (16, LLAMA_8B, "8xA10", (2, 1, 1), 131072),
        # 70 + 43 GB (80 layers): one GPU of 85.9 GB holds a shortened context, two hold all of it.
        (70, LLAMA_70B, "1xA100-80GB", (1, 1, 1), None),
        (70, LLAMA_70B, "8xA100-80GB", (2, 1, 1), 131072),
        # 141 + 43 GB: the model is not divisible by three GPUs of 85.9 GB, so four; two hold a shortened context.
        (141, LLAMA_70B, "2xA100-80GB", (2, 1, 1), None),
        (141, LLAMA_70B, "8xA100-80GB", (4, 1, 1), 131072),
        # Too little even with all GPUs: the split with the longest context.
        (141, LLAMA_70B, "8xA10", (8, 1, 1), None),
        # Only 5 and 25 divide its heads, and each GPU would replicate the one KV head: pipeline stages split it.
        (16, GQA_1, "2xA10", (1, 1, 1), 131072),
    ],
)
def test_idle_gpus_are_used_before_the_context_is_shortened(
    weights: float, shape: ModelArchitecture, gpus: str, expected: tuple[int, int, int], context: int | None
) -> None:
    result = gpu_plan(open_need(weights, shape), hypothetical_machine(gpus))
    assert parallel_sizes(result) == expected
    assert result.max_model_len is not None
    if context is None:
        assert 4096 <= result.max_model_len < 131072
        verb = "holds" if len(result.gpus) == 1 else "hold"
        assert f"which {verb} {result.max_model_len} of 131072 tokens: no split" in result.split
    else:
        assert result.max_model_len == context
        assert f"over {len(result.gpus)} of {gpus[0]} GPUs, the fewest that hold all 131072 tokens" in result.split


def test_requested_context_decides_the_split() -> None:
    machine = hypothetical_machine("8xA10")
    assert parallel_sizes(gpu_plan(open_need(16, LLAMA_8B, max_model_len=8192), machine)) == (1, 1, 1)
    assert parallel_sizes(gpu_plan(open_need(16, LLAMA_8B, max_model_len=100_000), machine)) == (2, 1, 1)
    result = gpu_plan(open_need(16, LLAMA_8B, tensor_parallel_size=1), hypothetical_machine("4xA10"))
    assert (parallel_sizes(result), result.max_model_len) == ((1, 2, 1), 131072)
    assert result.split == (
        "over 2 of 4 GPUs, the fewest that hold all 131072 tokens, which tensor parallelism alone does not, "
        "with --tensor-parallel-size 1."
    )


def test_each_replica_holds_the_whole_context() -> None:
    result = gpu_plan(open_need(16, LLAMA_8B, replicas="auto"), hypothetical_machine("8xA10"))
    assert (parallel_sizes(result), result.max_model_len) == ((2, 1, 4), 131072)
    assert result.split == "over 8 of 8 GPUs, in 4 copies, the fewest that hold all 131072 tokens."
    result = gpu_plan(open_need(16, LLAMA_8B, replicas="2"), hypothetical_machine("3xA10"))
    assert parallel_sizes(result) == (1, 1, 2)
    assert result.max_model_len is not None and result.max_model_len < 131072


def test_more_stages_are_taken_for_the_whole_context_or_for_twice_a_shortened_one() -> None:
    """A pipeline holds more of a shortened context, by what tensor parallelism takes over NVLink: 2.5 GiB on each."""
    machine = hypothetical_machine("2xA100-80GB")
    kept = gpu_plan(open_need(141, LLAMA_70B), machine)
    assert parallel_sizes(kept) == (2, 1, 1)
    assert kept.split.endswith("tokens: no split with as few stages holds more.")
    stages = gpu_plan(open_need(141, LLAMA_70B, tensor_parallel_size=1), machine)
    assert kept.max_model_len is not None and stages.max_model_len is not None
    assert kept.max_model_len < stages.max_model_len <= 2 * kept.max_model_len
    whole = gpu_plan(open_need(141, LLAMA_70B, max_model_len=stages.max_model_len), machine)
    assert parallel_sizes(whole) == (1, 2, 1)
    # With the largest weights that fit, tensor parallelism holds less than half.
    assert parallel_sizes(gpu_plan(open_need(143.5, LLAMA_70B), machine)) == (1, 2, 1)


def test_shortened_context_uses_the_gpus_with_most_free_memory() -> None:
    machine = with_free(hypothetical_machine("3xA100-80GB"), 80, 78.5, 80)
    result = gpu_plan(open_need(141, LLAMA_70B, tensor_parallel_size=2, pipeline_parallel_size=1), machine)
    assert sorted(indices(result.gpus)) == [0, 2]


def test_gpu_model_that_holds_the_whole_context_is_preferred() -> None:
    result = gpu_plan(open_need(16, LLAMA_8B), hypothetical_machine("1xA10,1xA100-40GB"))
    assert (indices(result.gpus), result.max_model_len) == ([1], 131072)
    assert result.split.startswith("over 1 of 1 GPU of the kind NVIDIA A100-SXM4-40GB, ")


def test_free_memory_of_each_gpu_counts() -> None:
    requirements = open_need(16)
    assert indices(gpu_plan(requirements, hypothetical_machine("2xA10")).gpus) == [0]
    busy = with_free(hypothetical_machine("2xA10"), 12.0)
    assert indices(gpu_plan(requirements, busy).gpus) == [1]
    both = with_free(hypothetical_machine("2xA10"), 14.0, 14.0)
    result = gpu_plan(requirements, both)
    assert parallel_sizes(result) == (2, 1, 1)
    assert result.gpu_memory_utilization == 0.54
    assert any(each.startswith("gpu_memory_utilization: 0.54 instead of 0.92") for each in result.adjustments)
    assert result.gpu_memory_utilization * result.gpus[0].memory_total_bytes <= 14 * GB - (768 << 20)


@pytest.mark.parametrize(
    ("replicas", "gpus", "count"),
    [("1", "4xA10", 1), ("2", "4xA10", 2), ("auto", "4xA10", 4), ("auto", "1xA10", 1)],
)
def test_replicas(replicas: str, gpus: str, count: int) -> None:
    result = gpu_plan(open_need(16, replicas=replicas), hypothetical_machine(gpus))
    assert parallel_sizes(result) == (1, 1, count)
    assert len(result.gpus) == count
    alone = gpu_plan(open_need(16), hypothetical_machine("1xA10"))
    assert alone.max_concurrency is not None
    assert result.max_concurrency == count * alone.max_concurrency


def test_the_context_shrinks_to_what_fits_and_no_further_than_4096() -> None:
    result = gpu_plan(open_need(16, LLAMA_8B), hypothetical_machine("1xA10"))
    assert result.max_model_len is not None
    assert 4096 <= result.max_model_len < 131072
    assert result.max_concurrency == pytest.approx(1, abs=0.01)
    assert f"max_model_len: {result.max_model_len} instead of 131072" in result.adjustments[0]
    assert gpu_plan(open_need(16, LLAMA_8B), hypothetical_machine("1xA100-80GB")).max_model_len == 131072
    # One GPU cannot also hold 4096 tokens.
    requirements = open_need(19.6, max_model_len=4096)
    assert parallel_sizes(gpu_plan(requirements, hypothetical_machine("2xA10"))) == (2, 1, 1)


def test_user_options_are_kept() -> None:
    result = gpu_plan(open_need(16, max_model_len=2000, gpu_memory_utilization=0.8), hypothetical_machine("4xA10"))
    assert (result.max_model_len, result.gpu_memory_utilization) == (2000, 0.8)
    assert result.adjustments == ()
    assert parallel_sizes(gpu_plan(open_need(16, tensor_parallel_size=4), hypothetical_machine("8xA10"))) == (4, 1, 1)
    assert parallel_sizes(gpu_plan(open_need(16, pipeline_parallel_size=2), hypothetical_machine("8xA10"))) == (1, 2, 1)


def test_a_mig_instance_serves_alone() -> None:
    machine = hypothetical_machine("2xA100-40GB")
    parts = tuple(
        replace(
            gpu, uuid=f"MIG-{gpu.uuid}", parent_uuid=gpu.uuid, memory_total_bytes=20 * GB, memory_free_bytes=20 * GB
        )
        for gpu in machine.gpus
    )
    machine = Inventory(parts, None)
    assert parallel_sizes(gpu_plan(open_need(14), machine)) == (1, 1, 1)
    gpu_error(open_need(30), machine)


def test_model_of_unknown_size_takes_one_gpu_unless_asked_otherwise() -> None:
    result = gpu_plan(unknown_need(), with_free(hypothetical_machine("2xA10"), 10.0))
    assert (indices(result.gpus), result.max_model_len, result.max_concurrency) == ([1], None, None)
    assert any("size is unknown" in each for each in result.warnings)
    assert result.outcome is Outcome.NOT_CHECKED
    assert parallel_sizes(gpu_plan(unknown_need(tensor_parallel_size=2), hypothetical_machine("2xA10"))) == (2, 1, 1)
    assert (
        "2 cards of one kind"
        in gpu_error(unknown_need(tensor_parallel_size=2), hypothetical_machine("1xA10,1xL4")).message
    )


@pytest.mark.parametrize(("gpus", "nearest", "kinds"), [("1xA10,1xL4", 1, 2), ("1xL4,1xA10", 0, 2), ("1xA10", 0, 1)])
def test_nearest_candidate_has_the_smallest_shortfall(gpus: str, nearest: int, kinds: int) -> None:
    requirements, machine = open_need(30), hypothetical_machine(gpus)
    assert requirements.footprint is not None
    found = find_placement(requirements, requirements.footprint, machine.gpus, machine.links)
    assert isinstance(found, NoPlacement)
    assert len(found.groups) == kinds
    assert found.nearest is not None and found.nearest.gpu == machine.gpus[nearest]
    assert found.nearest.shortfall_bytes > 0


def test_fullest_gpu_decides_the_context() -> None:
    requirements, machine = open_need(141, LLAMA_70B), with_free(hypothetical_machine("2xA100-80GB"), 80, 78)
    assert requirements.footprint is not None
    found = find_placement(requirements, requirements.footprint, machine.gpus, machine.links)
    assert isinstance(found, Placement) and found.fullest is not None
    assert found.fullest.gpu == machine.gpus[1]
    assert found.gpu_memory_utilization == found.fullest.gpu_memory_utilization
    assert found.fullest.request_bytes(found.context) <= found.fullest.kv_cache_bytes
    assert found.fullest.request_bytes(found.context + 16) > found.fullest.kv_cache_bytes
