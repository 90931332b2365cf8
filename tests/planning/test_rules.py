"""Each rule of a GPU plan, with cases on both sides of it."""

from dataclasses import replace
from typing import Any

import pytest

from maritalk_vllm.errors import DoesNotFit, UsageError
from maritalk_vllm.hardware.interconnect import Link
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.models.architecture import ModelArchitecture
from maritalk_vllm.planning.memory_estimate import CUDA_CONTEXT_BYTES
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.plan import Outcome, Plan
from maritalk_vllm.planning.plan_report import report, summary
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device
from tests.planning.machines import (
    GB,
    LLAMA_8B,
    SHORT_8B,
    GpuProcess,
    host,
    hypothetical_machine,
    indices,
    open_need,
    profile_need,
    unknown_need,
    with_free,
)


def plan(requirements: ModelRequirements, inventory: Inventory) -> Plan:
    return make_plan(requirements, inventory, Device.AUTO, Device.CUDA)


def fit_error(requirements: ModelRequirements, inventory: Inventory) -> DoesNotFit:
    with pytest.raises(DoesNotFit) as caught:
        plan(requirements, inventory)
    return caught.value


def parallel_sizes(result: Plan) -> tuple[int, int, int]:
    return result.tensor_parallel_size, result.pipeline_parallel_size, result.data_parallel_size


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
        result = plan(open_need(1, shape, tensor_parallel_size=size, max_model_len=4096), hypothetical_machine("9xA10"))
        assert parallel_sizes(result) == (size, 1, 1)
    for size, why in not_with.items():
        error = fit_error(open_need(1, shape, tensor_parallel_size=size), hypothetical_machine("9xA10"))
        assert f"--tensor-parallel-size {size}" in error.message
        assert why in error.message
        assert error.hint == f"Degrees that work: {', '.join(map(str, works))}."


def test_fewer_kv_heads_than_gpus() -> None:
    shape = replace(LLAMA_8B, key_value_heads=2)
    two = plan(open_need(1, shape, tensor_parallel_size=2), hypothetical_machine("8xA10"))
    eight = plan(open_need(1, shape, tensor_parallel_size=8), hypothetical_machine("8xA10"))
    one_head = 2 * 128 * 2 * 32
    for result in (two, eight):  # one head on each GPU, with 2 as with 8
        assert result.kv_cache_tokens == pytest.approx(
            result.memory.kv_cache_bytes / result.workers / one_head, rel=1e-3
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
    result = plan(open_need(weights), hypothetical_machine(gpus))
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
    result = plan(open_need(weights, shape), hypothetical_machine(gpus))
    assert parallel_sizes(result) == expected
    assert result.max_model_len is not None
    if context is None:
        assert 4096 <= result.max_model_len < 131072
        assert f"which hold {result.max_model_len} of 131072 tokens: no split holds more." in result.split
    else:
        assert result.max_model_len == context
        assert (
            f"Split: over {len(result.gpus)} of {gpus[0]} GPUs, the fewest that hold all 131072 tokens" in result.split
        )


def test_requested_context_decides_the_split() -> None:
    assert parallel_sizes(plan(open_need(16, LLAMA_8B, max_model_len=8192), hypothetical_machine("8xA10"))) == (1, 1, 1)
    assert parallel_sizes(plan(open_need(16, LLAMA_8B, max_model_len=100_000), hypothetical_machine("8xA10"))) == (
        2,
        1,
        1,
    )
    result = plan(open_need(16, LLAMA_8B, tensor_parallel_size=1), hypothetical_machine("4xA10"))
    assert (parallel_sizes(result), result.max_model_len) == ((1, 2, 1), 131072)
    assert result.split == (
        "Split: over 2 of 4 GPUs, the fewest that hold all 131072 tokens, which tensor parallelism alone does not, "
        "with --tensor-parallel-size 1."
    )


def test_each_replica_holds_the_whole_context() -> None:
    result = plan(open_need(16, LLAMA_8B, replicas="auto"), hypothetical_machine("8xA10"))
    assert (parallel_sizes(result), result.max_model_len) == ((2, 1, 4), 131072)
    assert result.split == "Split: over 8 of 8 GPUs, in 4 copies, the fewest that hold all 131072 tokens."
    result = plan(open_need(16, LLAMA_8B, replicas="2"), hypothetical_machine("3xA10"))
    assert parallel_sizes(result) == (1, 1, 2)
    assert result.max_model_len is not None and result.max_model_len < 131072


def test_shortened_context_uses_the_gpus_with_most_free_memory() -> None:
    machine = with_free(hypothetical_machine("3xA100-80GB"), 80, 75, 80)
    result = plan(open_need(141, LLAMA_70B, tensor_parallel_size=2, pipeline_parallel_size=1), machine)
    assert sorted(indices(result.gpus)) == [0, 2]


def test_gpu_model_that_holds_the_whole_context_is_preferred() -> None:
    result = plan(open_need(16, LLAMA_8B), hypothetical_machine("1xA10,1xA100-40GB"))
    assert (indices(result.gpus), result.max_model_len) == ([1], 131072)
    assert result.split.startswith("Split: over 1 of 1 GPUs of the kind NVIDIA A100-SXM4-40GB, ")


def test_pipeline_parallelism_warns_of_latency() -> None:
    assert any("more slowly" in each for each in plan(open_need(55), hypothetical_machine("3xA10")).warnings)
    assert not any("more slowly" in each for each in plan(open_need(55), hypothetical_machine("4xA10")).warnings)


def test_free_memory_of_each_gpu_counts() -> None:
    requirements = open_need(16)
    assert indices(plan(requirements, hypothetical_machine("2xA10")).gpus) == [0]
    busy = with_free(hypothetical_machine("2xA10"), 12.0)
    assert indices(plan(requirements, busy).gpus) == [1]
    both = with_free(hypothetical_machine("2xA10"), 14.0, 14.0)
    result = plan(requirements, both)
    assert parallel_sizes(result) == (2, 1, 1)
    assert result.gpu_memory_utilization == 0.54
    assert any(each.startswith("gpu_memory_utilization: 0.54 instead of 0.92") for each in result.adjustments)
    assert result.gpu_memory_utilization * result.gpus[0].memory_total_bytes <= 14 * GB - CUDA_CONTEXT_BYTES


def test_error_names_the_processes_that_hold_memory() -> None:
    busy = with_free(hypothetical_machine("1xA10"), 4.0, process=GpuProcess(4711, "python3", 19 * GB))
    error = fit_error(open_need(16), busy)
    assert "python3 (4711) holds 19.0 GB" in error.message
    assert "short" in error.message


def test_identical_gpus_are_chosen_by_free_memory() -> None:
    assert indices(plan(open_need(16), with_free(hypothetical_machine("3xA10"), 21.0, 22.5, 22.0)).gpus) == [1]


def test_links_count_more_than_free_memory() -> None:
    machine = with_free(hypothetical_machine("4xA6000"), 50.0, 51.0, 50.0, 51.0)
    uuids = [gpu.uuid for gpu in machine.gpus]
    bridges = {frozenset((uuids[0], uuids[2])): Link.NVLINK, frozenset((uuids[1], uuids[3])): Link.SWITCH}
    machine = replace(machine, links={**machine.links, **bridges})
    result = plan(open_need(70), machine)
    assert sorted(indices(result.gpus)) == [0, 2]
    assert not any("NVLink" in each for each in result.warnings)


def test_ranks_of_a_group_are_connected() -> None:
    machine = hypothetical_machine("4xA6000")
    uuids = [gpu.uuid for gpu in machine.gpus]
    bridges = {frozenset((uuids[a], uuids[b])): Link.NVLINK for a, b in ((0, 2), (1, 3))}
    result = plan(open_need(70, replicas="auto"), replace(machine, links={**machine.links, **bridges}))
    assert parallel_sizes(result) == (2, 1, 2)
    assert [sorted(indices(result.gpus[at : at + 2])) for at in (0, 2)] == [[0, 2], [1, 3]]


def test_slow_links_are_warned_of() -> None:
    assert any("without NVLink" in each for each in plan(open_need(30), hypothetical_machine("2xA10")).warnings)
    assert not any(
        "without NVLink" in each for each in plan(open_need(60), hypothetical_machine("2xA100-40GB")).warnings
    )


def test_different_gpu_models_do_not_share_a_model() -> None:
    result = plan(open_need(30), hypothetical_machine("1xA10,1xL4,2xA5000"))
    assert indices(result.gpus) == [2, 3]
    assert "of another kind" in result.rejected[0].reason
    assert "The nearest: 1 x NVIDIA L4" in fit_error(open_need(30), hypothetical_machine("1xA10,1xL4")).message


def test_unused_gpus_have_a_reason() -> None:
    result = plan(open_need(16), hypothetical_machine("1xT4,3xA10"))
    assert [(each.label, each.reason) for each in result.rejected] == [
        ("GPU 0 (Tesla T4)", "compute capability 7.5, 8.0 is needed"),
        ("GPU 2 (NVIDIA A10)", "not needed"),
        ("GPU 3 (NVIDIA A10)", "not needed"),
    ]
    assert "Idle: 2 GPUs of this kind; --replicas auto starts more replicas on them." in result.warnings


@pytest.mark.parametrize(
    ("replicas", "gpus", "count"),
    [("1", "4xA10", 1), ("2", "4xA10", 2), ("auto", "4xA10", 4), ("auto", "1xA10", 1)],
)
def test_replicas(replicas: str, gpus: str, count: int) -> None:
    result = plan(open_need(16, replicas=replicas), hypothetical_machine(gpus))
    assert parallel_sizes(result) == (1, 1, count)
    assert len(result.gpus) == count


def test_replicas_that_do_not_fit() -> None:
    assert fit_error(open_need(30, replicas="3"), hypothetical_machine("4xA10")).hint == "--replicas 2 would fit."
    for wrong in ("0", "-1", "all", "1.5"):
        with pytest.raises(UsageError, match="auto"):
            open_need(16, replicas=wrong)


def test_the_context_shrinks_to_what_fits_and_no_further_than_4096() -> None:
    result = plan(open_need(16, LLAMA_8B), hypothetical_machine("1xA10"))
    assert result.max_model_len is not None
    assert 4096 <= result.max_model_len < 131072
    assert result.max_concurrency == pytest.approx(1, abs=0.01)
    assert f"max_model_len: {result.max_model_len} instead of 131072" in result.adjustments[0]
    assert plan(open_need(16, LLAMA_8B), hypothetical_machine("1xA100-80GB")).max_model_len == 131072
    assert parallel_sizes(plan(open_need(19.6, max_model_len=4096), hypothetical_machine("2xA10"))) == (
        2,
        1,
        1,
    )  # one GPU cannot also hold 4096 tokens


def test_user_options_are_kept() -> None:
    result = plan(open_need(16, max_model_len=2000, gpu_memory_utilization=0.8), hypothetical_machine("4xA10"))
    assert (result.max_model_len, result.gpu_memory_utilization) == (2000, 0.8)
    assert result.adjustments == ()
    assert parallel_sizes(plan(open_need(16, tensor_parallel_size=4), hypothetical_machine("8xA10"))) == (4, 1, 1)
    assert parallel_sizes(plan(open_need(16, pipeline_parallel_size=2), hypothetical_machine("8xA10"))) == (1, 2, 1)


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
    assert fit_error(open_need(16, **given), hypothetical_machine(gpus)).hint.startswith(hint)


def test_more_gpus_requested_than_available() -> None:
    error = fit_error(open_need(16, tensor_parallel_size=8), hypothetical_machine("2xA10,1xL4"))
    assert error.message == "--tensor-parallel-size 8 needs 8 cards of one kind, and there are 2 x NVIDIA A10."
    assert error.hint == "Tensor-parallel degrees that work: 1, 2."


def test_a_mig_instance_serves_alone() -> None:
    machine = hypothetical_machine("2xA100-40GB")
    parts = tuple(
        replace(
            gpu, uuid=f"MIG-{gpu.uuid}", parent_uuid=gpu.uuid, memory_total_bytes=20 * GB, memory_free_bytes=20 * GB
        )
        for gpu in machine.gpus
    )
    machine = Inventory(parts, None)
    assert parallel_sizes(plan(open_need(14), machine)) == (1, 1, 1)
    fit_error(open_need(30), machine)


@pytest.mark.parametrize(
    ("limit", "memory", "warns"), [(None, 256, False), (40, 256, False), (20, 256, True), (None, 24, True)]
)
def test_host_memory_is_a_warning(limit: float | None, memory: float, warns: bool) -> None:
    machine = replace(hypothetical_machine("1xA10"), host=host(memory, limit_gb=limit))
    result = plan(profile_need("small"), machine)
    assert any("should have 32.0 GB" in each for each in result.warnings) == warns


def test_a_container_too_small_for_the_processes_is_an_error() -> None:
    machine = replace(hypothetical_machine("4xA10"), host=host(256, limit_gb=10))
    assert "may use 10.0 GB" in fit_error(profile_need("medium"), machine).message
    plan(profile_need("medium"), replace(machine, host=host(256, limit_gb=20)))


def test_little_shared_memory_is_a_warning_with_several_cards() -> None:
    small = replace(host(256), shared_memory_bytes=64 << 20)
    assert any(
        "/dev/shm" in each for each in plan(open_need(30), replace(hypothetical_machine("2xA10"), host=small)).warnings
    )
    assert not any(
        "/dev/shm" in each for each in plan(open_need(16), replace(hypothetical_machine("2xA10"), host=small)).warnings
    )


@pytest.mark.parametrize("flags", [("--cpu_offload_gb", "20"), ("--cpu-offload-gb=20",), ("-q", "nvfp4_per_token")])
def test_uncounted_flags_that_save_memory_turn_an_error_into_not_checked(flags: tuple[str, ...]) -> None:
    fit_error(open_need(30, engine_args=("--seed", "3")), hypothetical_machine("1xA10"))
    result = plan(open_need(30, engine_args=flags), hypothetical_machine("1xA10"))
    assert (parallel_sizes(result), result.max_concurrency, result.outcome) == ((1, 1, 1), None, Outcome.NOT_CHECKED)
    assert "does not fit" not in "\n".join(report(result))
    assert report(result)[0] == "open was not checked: 1 x NVIDIA A10."
    assert summary(result)[0] == "Plan, not checked: 1 x NVIDIA A10."
    assert result.warnings[-1].startswith("By the plan's estimate, memory is short (1 x NVIDIA A10: each needs 30.0 GB")
    # A model that fits without the flag fits with it.
    assert plan(open_need(16, engine_args=flags), hypothetical_machine("1xA10")).outcome is Outcome.FITS


@pytest.mark.parametrize(
    "flags",
    [
        ("--speculative-config", "{}"),
        ("--hf-overrides={}",),
        ("--enable-lora",),
        ("--max-num-seqs", "many"),
        ("--kv-cache-memory-bytes", "1G"),
    ],
)
def test_uncounted_flags_that_take_memory_are_never_said_to_fit(flags: tuple[str, ...]) -> None:
    result = plan(open_need(1, engine_args=flags), hypothetical_machine("1xA10"))
    assert result.outcome is Outcome.NOT_CHECKED
    assert (
        f"The plan does not count {flags[0].partition('=')[0]}, which may make vLLM use more memory." in result.warnings
    )


@pytest.mark.parametrize(
    ("flags", "weights", "cache_a_token"),
    [
        ((), 16, 131072),
        (("--quantization", "fp8"), 8, 131072),
        (("-q", "fp8_per_block"), 8, 131072),
        (("--quantization=fp8", "--kv-cache-dtype", "fp8_e5m2"), 8, 65536),
        (("--kv_cache_dtype=fp8",), 16, 65536),
        (("--kv-cache-dtype", "fp8", "--kv-cache-dtype", "auto"), 16, 131072),
        (("--dtype", "float32"), 32, 262144),
        (("--dtype", "float32", "--kv-cache-dtype", "bfloat16"), 32, 131072),
        (("--dtype", "float32", "--quantization", "fp8"), 8, 262144),
        (("--load-format", "dummy"), 16, 131072),
    ],
)
def test_counted_vllm_flags(flags: tuple[str, ...], weights: int, cache_a_token: int) -> None:
    result = plan(open_need(16, engine_args=flags), hypothetical_machine("1xA100-80GB"))
    assert result.outcome is Outcome.FITS
    assert result.memory.weights_bytes == weights * GB
    assert result.kv_cache_tokens == pytest.approx(result.memory.kv_cache_bytes / cache_a_token, rel=0.01)


def test_quantized_checkpoint_has_the_size_of_its_files() -> None:
    for flags in ((), ("--quantization", "awq_marlin"), ("--quantization", "fp8")):
        result = plan(
            open_need(5, replace(SHORT_8B, quantization="awq"), engine_args=flags), hypothetical_machine("1xA10")
        )
        assert (result.memory.weights_bytes, result.outcome) == (5 * GB, Outcome.FITS)


def test_batch_limits_are_counted() -> None:
    def overhead(*flags: str) -> int:
        return plan(open_need(16, engine_args=flags), hypothetical_machine("1xA10")).memory.overhead_bytes

    # Logits of a sequence, in float32, four times: 128256 x 4 x 4 bytes; vLLM's default is 256 sequences.
    assert overhead() - overhead("--max-num-seqs", "128") == 128 * 128256 * 16
    # 8 x 4096 + 2 x 14336 numbers of two bytes each; vLLM's default is 2048 tokens.
    assert overhead("--max-num-batched-tokens=4096") - overhead() == 2048 * (8 * 4096 + 2 * 14336) * 2
    assert overhead() - overhead("--enforce-eager") == 640 << 20


def test_model_of_unknown_size_takes_one_gpu_unless_asked_otherwise() -> None:
    result = plan(unknown_need(), with_free(hypothetical_machine("2xA10"), 10.0))
    assert (indices(result.gpus), result.max_model_len, result.max_concurrency) == ([1], None, None)
    assert any("size is unknown" in each for each in result.warnings)
    assert result.outcome is Outcome.NOT_CHECKED
    assert parallel_sizes(plan(unknown_need(tensor_parallel_size=2), hypothetical_machine("2xA10"))) == (2, 1, 1)
    assert (
        "2 cards of one kind"
        in fit_error(unknown_need(tensor_parallel_size=2), hypothetical_machine("1xA10,1xL4")).message
    )


def test_integrated_gpu_leaves_memory_for_our_processes() -> None:
    """The planner reserves 5 GB of the host's memory for them, besides CUDA's context."""
    machine = with_free(hypothetical_machine("GB10"), 60.0)
    result = plan(open_need(16), machine)
    assert result.gpus[0].is_integrated
    assert result.gpu_memory_utilization is not None
    assert result.gpu_memory_utilization * result.gpus[0].memory_total_bytes <= 60 * GB - CUDA_CONTEXT_BYTES - 5 * GB
    fit_error(open_need(50), machine)
    assert plan(open_need(50), with_free(hypothetical_machine("GB10"), 64.0)).outcome is Outcome.FITS
