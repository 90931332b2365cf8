"""The user's vLLM flags that change a plan's memory."""

from dataclasses import replace

import pytest

from maritalk_vllm.planning.plan import Outcome
from maritalk_vllm.planning.plan_report import report, summary
from tests.planning.machines import GB, SHORT_8B, gpu_error, gpu_plan, hypothetical_machine, open_need, parallel_sizes


@pytest.mark.parametrize("flags", [("--cpu_offload_gb", "20"), ("--cpu-offload-gb=20",), ("-q", "nvfp4_per_token")])
def test_uncounted_flags_that_save_memory_turn_an_error_into_not_checked(flags: tuple[str, ...]) -> None:
    gpu_error(open_need(30, engine_args=("--seed", "3")), hypothetical_machine("1xA10"))
    result = gpu_plan(open_need(30, engine_args=flags), hypothetical_machine("1xA10"))
    assert (parallel_sizes(result), result.max_concurrency, result.outcome) == ((1, 1, 1), None, Outcome.NOT_CHECKED)
    assert "does not fit" not in "\n".join(report(result))
    assert report(result)[0] == "open was not checked: 1 x NVIDIA A10."
    assert summary(result)[0] == "Plan, not checked: 1 x NVIDIA A10."
    assert result.warnings[-1].startswith("By the plan's estimate, memory is short (1 x NVIDIA A10: each needs 30.0 GB")
    # A model that fits without the flag fits with it.
    assert gpu_plan(open_need(16, engine_args=flags), hypothetical_machine("1xA10")).outcome is Outcome.FITS


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
    result = gpu_plan(open_need(1, engine_args=flags), hypothetical_machine("1xA10"))
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
    result = gpu_plan(open_need(16, engine_args=flags), hypothetical_machine("1xA100-80GB"))
    assert result.outcome is Outcome.FITS
    assert result.memory.weights_bytes == weights * GB
    assert result.kv_cache_tokens == pytest.approx(result.memory.kv_cache_bytes / cache_a_token, rel=0.01)


def test_quantized_checkpoint_has_the_size_of_its_files() -> None:
    for flags in ((), ("--quantization", "awq_marlin"), ("--quantization", "fp8")):
        result = gpu_plan(
            open_need(5, replace(SHORT_8B, quantization="awq"), engine_args=flags), hypothetical_machine("1xA10")
        )
        assert (result.memory.weights_bytes, result.outcome) == (5 * GB, Outcome.FITS)
