"""The user's vLLM flags that change a plan's memory."""

import re
from dataclasses import replace

import pytest

from maritalk_vllm.errors import DoesNotFit
from maritalk_vllm.planning.memory_flags import read_flags
from maritalk_vllm.planning.plan import Outcome
from maritalk_vllm.planning.plan_report import report, summary
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device
from tests.planning.machines import (
    GB,
    LLAMA_8B,
    SHORT_8B,
    cpu,
    gpu_error,
    gpu_plan,
    hypothetical_machine,
    open_need,
    parallel_sizes,
)


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
        ("--speculative-config.method=ngram",),
        ("-sc", "{}"),
        ("--hf-overrides={}",),
        ("-O0",),
        ("--performance-mode", "throughput"),
        ("--max-num-seqs", "many"),
        ("--kv-cache-memory-bytes", "1G"),
    ],
)
def test_uncounted_flags_that_take_memory_are_never_reported_to_fit(flags: tuple[str, ...]) -> None:
    result = gpu_plan(open_need(1, engine_args=flags), hypothetical_machine("1xA10"))
    assert result.outcome is Outcome.NOT_CHECKED
    name = {"-sc": "--speculative-config", "-O0": "--optimization-level"}.get(flags[0], flags[0])
    name = re.split("[=.]", name, maxsplit=1)[0]
    assert f"The plan does not count {name}, which may make vLLM use more memory." in result.warnings


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


LLAMA_70B = replace(LLAMA_8B, attention_heads=64, layers=80, hidden_size=8192, intermediate_size=28672)
"""141 GB in 16 bits, of which four A10 hold half."""


@pytest.mark.parametrize(
    "flags", [("--cpu-offload-gb", "20"), ("--quantization", "bitsandbytes"), ("--load-format", "gguf")]
)
def test_uncounted_flags_keep_the_nearest_split(flags: tuple[str, ...]) -> None:
    """The split that lacks least, not one card of four."""
    short = gpu_error(open_need(141, LLAMA_70B), hypothetical_machine("4xA10")).short
    assert short.startswith("4 x NVIDIA A10")
    result = gpu_plan(open_need(141, LLAMA_70B, engine_args=flags), hypothetical_machine("4xA10"))
    assert result.outcome is Outcome.NOT_CHECKED
    assert len(result.gpus) == result.workers == 4
    assert result.max_concurrency is None
    assert report(result)[0].startswith("open was not checked: 4 x NVIDIA A10, ")


@pytest.mark.parametrize(
    "flags",
    [
        ("--load-format", "dummy"),
        ("--max-num-seqs", "8"),
        ("--max-num-batched-tokens", "512"),
        ("--enforce-eager",),
        ("--kv-cache-dtype", "fp8"),
        ("--dtype", "float16"),
        ("--enable-lora",),
        ("--speculative-config", "{}"),
        ("--kv-transfer-config", "{}"),
        ("--seed", "3"),
    ],
)
def test_flags_that_cannot_make_up_for_what_is_short_do_not_turn_an_error_into_a_plan(flags: tuple[str, ...]) -> None:
    gpu_error(open_need(141, LLAMA_70B, engine_args=flags), hypothetical_machine("4xA10"))


def test_no_flag_makes_an_impossible_split_possible() -> None:
    requirements = open_need(16, tensor_parallel_size=3, engine_args=("--cpu-offload-gb", "20"))
    assert "3 does not divide its 32 attention heads" in gpu_error(requirements, hypothetical_machine("4xA10")).message
    with pytest.raises(DoesNotFit, match="3 does not divide its 32 attention heads"):
        make_plan(requirements, cpu(256, cores=8), Device.CPU, Device.CPU)


def test_adapters_take_what_vllm_allocates_for_them() -> None:
    """By hand, of Llama 3.1 8B: A and B of query, key, value, output, gate, up and down, of embedding and head."""
    plain, flags = open_need(16), ("--enable-lora", "--max-loras", "4", "--max-lora-rank=64")
    one = gpu_plan(open_need(16, engine_args=("--enable-lora",)), hypothetical_machine("1xA100-80GB"))
    four = gpu_plan(open_need(16, engine_args=flags), hypothetical_machine("1xA100-80GB"))
    layer = (4096 + 4096) + 2 * (4096 + 1024) + (4096 + 4096) + 2 * (4096 + 14336) + (14336 + 4096)
    numbers = 32 * layer + 2 * (128256 + 4096)
    without = gpu_plan(plain, hypothetical_machine("1xA100-80GB")).memory.weights_bytes
    assert one.memory.weights_bytes - without == 16 * numbers * 2
    assert four.memory.weights_bytes - without == 4 * 64 * numbers * 2
    assert one.outcome is four.outcome is Outcome.NOT_CHECKED
    assert one.warnings == ("The plan estimates what --enable-lora takes: vLLM may use more memory.",)
    assert gpu_plan(open_need(16, engine_args=("--max-loras", "4")), hypothetical_machine("1xA10")).checked


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--enable-lora", "--no-enable-lora"), {"--no-enable-lora": ""}),
        (("--no-enable-lora", "--enable-lora"), {"--no-enable-lora": "", "--enable-lora": ""}),
        (("--compilation-config.mode=3",), {"--compilation-config": "3"}),
        (("-cc.mode", "3"), {"--compilation-config": "3"}),
        (("-O3", "-q=fp8"), {"--optimization-level": "3", "--quantization": "fp8"}),
        (("-O", "2"), {"--optimization-level": "2"}),
        (("--max_num_seqs=8",), {"--max-num-seqs": "8"}),
    ],
)
def test_flags_are_read_in_each_form(arguments: tuple[str, ...], expected: dict[str, str]) -> None:
    assert read_flags(arguments) == expected
