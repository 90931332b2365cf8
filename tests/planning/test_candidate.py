"""The memory of a split on one GPU."""

import math
from dataclasses import replace

import pytest

from maritalk_vllm.planning.candidate import Candidate, Parallelism, assess
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.plan import Outcome
from tests.planning.machines import GB, LLAMA_8B, gpu_error, gpu_plan, hypothetical_machine, open_need, with_free

A10 = hypothetical_machine("A10").gpus[0]
ALONE = Parallelism(1, 1)


def candidate(requirements: ModelRequirements, parallelism: Parallelism = ALONE) -> Candidate:
    """On an idle A10."""
    assert requirements.footprint is not None
    return assess(requirements, requirements.footprint, parallelism, A10)


def test_memory_by_hand() -> None:
    """Each of 4096 tokens of Llama 3.1 8B takes 131072 bytes; an A10 has 23028 MiB, of which 512 are not free.

    CUDA shows 384 MiB and 0.5% less than that.
    """
    found = candidate(open_need(16))
    assert found.weights_bytes == 16 * GB
    assert found.gpu_memory_utilization == 0.92
    assert found.budget_bytes == int(0.92 * ((23028 << 20) - math.ceil((384 + 0.005 * 23028) * 2**20)))
    assert found.usable_bytes == (23028 - 512 - 768) << 20
    sampler = 2048 * 4096 * 2 + 256 * 128256 * 14
    assert found.overhead_bytes == sampler + ((640 + 600) << 20)
    assert found.kv_cache_bytes == found.budget_bytes - found.weights_bytes - found.overhead_bytes
    assert found.min_kv_cache_bytes == found.request_bytes(4096) == 4096 * 131072
    assert (found.fits, found.shortfall_bytes) == (True, 0)
    assert found.title == "1 x NVIDIA A10"


def test_one_byte_decides() -> None:
    found = candidate(open_need(16))
    spare_bytes = found.kv_cache_bytes - found.min_kv_cache_bytes
    requirements = open_need(16)
    assert requirements.footprint is not None
    for more, fits in ((0, True), (1, False)):
        footprint = replace(requirements.footprint, split_bytes=16 * GB + spare_bytes + more)
        result = candidate(replace(requirements, footprint=footprint))
        assert (result.fits, result.shortfall_bytes) == (fits, more)


def test_share_over_what_is_free_does_not_fit() -> None:
    """The GPU would hold the model, but vLLM does not start with a budget that is not free."""
    found = candidate(open_need(1, gpu_memory_utilization=0.99))
    assert found.kv_cache_bytes == found.usable_bytes - found.budget_bytes < 0
    assert found.shortfall_bytes == found.min_kv_cache_bytes + found.budget_bytes - found.usable_bytes


def test_split_divides_weights_and_kv_cache() -> None:
    one, four = candidate(open_need(16)), candidate(open_need(16), Parallelism(2, 2))
    assert four.weights_bytes == one.weights_bytes / 4
    assert four.min_kv_cache_bytes == one.min_kv_cache_bytes / 4
    assert four.budget_bytes == one.budget_bytes
    assert four.title == "4 x NVIDIA A10 (2 tensor x 2 pipeline parallel)"
    two_nodes = candidate(open_need(16, nodes=2), Parallelism(2, 2))
    assert two_nodes.title == "2 nodes of 2 x NVIDIA A10 (2 tensor x 2 pipeline parallel)"


@pytest.mark.parametrize(
    ("tensor", "pipeline", "nodes", "even"),
    [(1, 1, 1, True), (4, 2, 2, True), (1, 3, 2, False), (8, 1, 2, True), (2, 3, 2, False), (2, 3, 3, True)],
)
def test_nodes_hold_parts_of_the_same_size(tensor: int, pipeline: int, nodes: int, even: bool) -> None:
    assert Parallelism(tensor, pipeline).is_even(nodes) is even


def test_fewer_kv_heads_than_gpus() -> None:
    shape = replace(LLAMA_8B, key_value_heads=2)
    two = gpu_plan(open_need(1, shape, tensor_parallel_size=2), hypothetical_machine("8xA10"))
    eight = gpu_plan(open_need(1, shape, tensor_parallel_size=8), hypothetical_machine("8xA10"))
    one_head = 2 * 128 * 2 * 32
    for result in (two, eight):  # one head on each GPU, with 2 as with 8
        assert result.kv_cache_tokens == pytest.approx(
            result.memory.kv_cache_bytes / result.workers / one_head, rel=1e-3
        )


def test_batch_limits_are_counted() -> None:
    def overhead(*flags: str) -> int:
        return gpu_plan(open_need(16, engine_args=flags), hypothetical_machine("1xA10")).memory.overhead_bytes

    # Three and a half float32 numbers for each of 128256 logits; vLLM's default is 256 sequences.
    assert overhead() - overhead("--max-num-seqs", "250") == 6 * 128256 * 14
    # Few sequences are smaller than a layer's 2 x 4096 + 3 x 14336 numbers of two bytes; vLLM's default is 2048 tokens.
    few = ("--max-num-seqs", "1")
    assert overhead(*few, "--max-num-batched-tokens=4096") - overhead(*few) == 2048 * (2 * 4096 + 3 * 14336) * 2
    assert overhead() - overhead("--enforce-eager") == 640 << 20


def test_integrated_gpu_leaves_memory_for_our_processes() -> None:
    """The planner reserves 5 GB of the host's memory for them, besides CUDA's context."""
    machine = with_free(hypothetical_machine("GB10"), 60.0)
    result = gpu_plan(open_need(16), machine)
    assert result.gpus[0].is_integrated
    assert result.gpu_memory_utilization is not None
    assert result.gpu_memory_utilization * result.gpus[0].memory_total_bytes <= 60 * GB - (768 << 20) - 5 * GB
    gpu_error(open_need(51), machine)
    assert gpu_plan(open_need(51), with_free(hypothetical_machine("GB10"), 64.0)).outcome is Outcome.FITS


def test_gpus_that_share_a_layer_hold_buffers_to_communicate() -> None:
    """More over NVLink, where CUDA's context is larger too; stages of a pipeline hold none."""
    h100 = hypothetical_machine("H100").gpus[0]
    requirements = open_need(16)
    assert requirements.footprint is not None
    alone, pipeline, pcie, two, eight = (
        assess(requirements, requirements.footprint, Parallelism(tensor, stages), h100, nvlink=nvlink)
        for tensor, stages, nvlink in ((1, 1, True), (1, 2, True), (2, 1, False), (2, 1, True), (8, 1, True))
    )
    assert pipeline.overhead_bytes == alone.overhead_bytes
    buffers = [each.overhead_bytes - alone.overhead_bytes for each in (pcie, two, eight)]
    assert buffers == [256 << 20, 2540 << 20, 2540 << 20]
    assert [alone.usable_bytes - each.usable_bytes for each in (pcie, two, eight)] == [
        mib << 20 for mib in (0, 768, 1485)
    ]


def test_the_largest_of_profiled_tensors_counts() -> None:
    """vLLM computes a step and then samples: it does not hold the tensors of both."""
    h100 = hypothetical_machine("H100").gpus[0]
    wide = replace(LLAMA_8B, vocabulary_size=1000)
    layer = 8192 * (2 * 4096 + 3 * 14336) * 2
    sampler = 8192 * 4096 * 2 + 1024 * 128256 * 14
    for shape, expected in ((wide, layer), (LLAMA_8B, sampler)):
        requirements = open_need(16, shape)
        assert requirements.footprint is not None
        found = assess(requirements, requirements.footprint, ALONE, h100)
        assert found.overhead_bytes == expected + ((640 + 600) << 20)
