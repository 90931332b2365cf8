"""The duration of a step, computed by hand."""

from dataclasses import replace

import pytest

from maritalk_vllm.errors import UsageError
from maritalk_vllm.hardware.gpu_catalog import GpuModel, find_gpu, gpu_models
from maritalk_vllm.models.memory_footprint import MemoryFootprint, llama_footprint
from maritalk_vllm.models.profile import find as profile
from maritalk_vllm.planning.candidate import Parallelism
from maritalk_vllm.planning.roofline import (
    Efficiency,
    StepCost,
    context_bytes,
    cpu_tokens_per_second,
    parameters,
    read_bytes,
    roofline,
)
from tests.planning.machines import LLAMA_8B

ALL_OF_IT = Efficiency(memory=1, compute=1, link=1, step=0)
ALONE = Parallelism(1, 1)


def small() -> MemoryFootprint:
    found = profile("small")
    assert found is not None
    return found.footprint


def test_single_user_step_is_bound_by_weights() -> None:
    """14.6 GB at 600 GB/s are 24.3 ms; the published 42.2 tokens/s of an A100 are 0.4 of what its memory allows."""
    a10 = roofline(small(), ALONE, find_gpu("A10"), ALL_OF_IT, 0)
    assert a10.seconds(1, 1, 0) == pytest.approx(14.6 / 600)
    a100 = roofline(small(), ALONE, find_gpu("A100-40GB"), ALL_OF_IT, 0)
    assert 42.2 * a100.seconds(1, 1, 0) == pytest.approx(0.396, abs=0.001)


def test_prompt_step_is_bound_by_compute() -> None:
    """7.3 billion parameters, 2 operations each: 14.6 TFLOP for 1000 tokens, of 125 a second."""
    cost = roofline(small(), ALONE, find_gpu("A10"), ALL_OF_IT, 0)
    assert cost.seconds(1000, 1, 0) == pytest.approx(14.6 / 125)


def test_step_takes_the_longer_of_weights_and_compute() -> None:
    cost = StepCost(fixed=1, weights=10, compute=2, token=0.5, sequence=0.25, context=0.125)
    assert cost.seconds(4, 2, 8) == 1 + 10 + 2 + 0.5 + 1
    assert cost.seconds(6, 2, 8) == 1 + 12 + 3 + 0.5 + 1


def test_context_is_read_in_each_step() -> None:
    """32 layers x 32 heads x 128 x 2 (key, value) x 2 bytes: half a megabyte a token."""
    assert context_bytes(small(), 1, 1024) == 32 * 32 * 128 * 2 * 2
    cost = roofline(small(), ALONE, find_gpu("A10"), ALL_OF_IT, 1024)
    assert cost.context == pytest.approx(524288 / 600e9)


def test_tensor_parallelism_divides_work_and_adds_communication() -> None:
    one, two = (roofline(small(), Parallelism(tp, 1), find_gpu("A10"), Efficiency(), 600) for tp in (1, 2))
    assert two.weights == one.weights / 2
    assert two.compute == pytest.approx(one.compute / 2)
    assert two.context == one.context / 2
    assert two.fixed > one.fixed
    # 2 all-reduces per layer of 4096 numbers of 2 bytes, each sent once by two GPUs, at 0.6 of 32 GB/s.
    assert two.token == pytest.approx(2 * 32 * 4096 * 2 / (0.6 * 32e9))
    linked = roofline(small(), Parallelism(2, 1), find_gpu("A100-40GB"), Efficiency(), 600)
    assert linked.token < two.token / 5


def test_input_embedding_is_not_read() -> None:
    footprint = llama_footprint(LLAMA_8B, tied=False)
    assert read_bytes(footprint) == footprint.weights_bytes - footprint.input_bytes
    assert parameters(footprint) == pytest.approx(7.5e9, rel=0.01)
    quantized = replace(footprint, shape=replace(LLAMA_8B, quantization="awq"), split_bytes=footprint.split_bytes // 4)
    assert parameters(quantized) == parameters(footprint)


@pytest.mark.parametrize(("cores", "rate"), [(1, 1), (4, 4), (64, 10)])
def test_a_cpu_reads_the_weights_for_each_token(cores: int, rate: float) -> None:
    """10 GB of weights at 10 GB/s a core, and 100 GB/s at most."""
    footprint = MemoryFootprint(shape=LLAMA_8B, split_bytes=10 * 10**9)
    assert cpu_tokens_per_second(footprint, cores) == pytest.approx(rate)


def test_gpu_without_a_data_sheet() -> None:
    with pytest.raises(UsageError, match="no speed of RTX-3060"):
        roofline(small(), ALONE, find_gpu("RTX-3060"), Efficiency(), 0)


@pytest.mark.parametrize("gpu_model", gpu_models(), ids=lambda gpu_model: gpu_model.short_name)
def test_data_sheets_are_plausible(gpu_model: GpuModel) -> None:
    """A GPU model has both figures or none, and computes 30 to 500 operations in the time to read one byte.

    The minimum is 37, for an H20, whose compute was cut for export: 148 x 10^12 operations to 4.0 x 10^12 bytes.
    """
    assert (gpu_model.bandwidth is None) == (gpu_model.flops is None)
    if gpu_model.bandwidth and gpu_model.flops:
        assert 200e9 <= gpu_model.bandwidth <= 8e12
        assert 30 <= gpu_model.flops / gpu_model.bandwidth <= 500


def test_every_cloud_gpu_has_a_data_sheet() -> None:
    assert [gpu_model.short_name for gpu_model in gpu_models() if gpu_model.cloud and gpu_model.bandwidth is None] == []
