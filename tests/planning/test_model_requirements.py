"""The lengths that a plan aims for, and what keeps it from being checked."""

from dataclasses import replace

import pytest

from maritalk_vllm.errors import UsageError
from tests.planning.machines import LLAMA_8B, SHORT_8B, open_need, unknown_need


@pytest.mark.parametrize(
    ("own", "requested", "target", "planned", "minimum"),
    [
        (131072, None, 131072, 131072, 4096),
        (1000, None, 1000, 1000, 1000),
        (131072, 2000, 2000, 2000, 2000),
        (None, None, None, 4096, 4096),
        (None, 8000, 8000, 8000, 8000),
    ],
)
def test_lengths(own: int | None, requested: int | None, target: int | None, planned: int, minimum: int) -> None:
    requirements = open_need(16, replace(LLAMA_8B, max_model_len=own), max_model_len=requested)
    lengths = requirements.target_max_len, requirements.planned_max_len, requirements.min_max_len
    assert lengths == (target, planned, minimum)


@pytest.mark.parametrize("wrong", ["0", "-1", "all", "1.5"])
def test_replicas_are_a_number_or_auto(wrong: str) -> None:
    assert (open_need(16, replicas="2").replicas, open_need(16, replicas="auto").replicas) == (2, None)
    with pytest.raises(UsageError, match="Give a number from 1 on, or auto"):
        open_need(16, replicas=wrong)


@pytest.mark.parametrize(
    ("available_bytes", "context"),
    [(131072, 131072), (131071, 131056), (4112, 4112), (4111, 4096), (4096, 4096)],
)
def test_longest_context_is_a_number_of_whole_blocks(available_bytes: int, context: int) -> None:
    """A token takes one byte; a block has 16 tokens."""
    assert open_need(16, LLAMA_8B).longest_context(available_bytes, lambda tokens: tokens) == context


def test_reasons_why_a_plan_is_not_checked() -> None:
    assert open_need(16).unchecked_reasons == ()
    assert unknown_need().unchecked_reasons == (
        "org/unknown is not on this machine and its size is unknown: nothing was checked against it.",
    )
    assert replace(unknown_need(), doubt="It has no config.json.").unchecked_reasons == (
        "Its size is unknown: nothing was checked against it.",
    )
    partial = open_need(16, replace(SHORT_8B, unknown=("hidden_size", "layers")), engine_args=("--enable-lora",))
    assert partial.unchecked_reasons == (
        "Neither the configuration of open nor its weights say its hidden size, layers.",
        "The plan estimates what --enable-lora takes: vLLM may use more memory.",
    )


def test_a_shortage_is_no_error_with_flags_that_are_not_counted() -> None:
    assert open_need(16, engine_args=("--max-num-seqs", "8")).reason_to_try_anyway("1 GB short") is None
    for only_more in (("--enable-lora",), ("--speculative-config", "{}")):
        assert open_need(16, engine_args=only_more).reason_to_try_anyway("1 GB short") is None
    offloaded = open_need(16, engine_args=("--enable-lora", "--hf-overrides", "{}", "--cpu-offload-gb", "9"))
    assert offloaded.reason_to_try_anyway("1 GB short") == (
        "By the plan's estimate, memory is short (1 GB short). "
        "It does not count --cpu-offload-gb, --hf-overrides: the model is tried."
    )
