"""The best checkpoint that fits is chosen, also if a smaller one would hold a longer context or need fewer GPUs."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maritalk_vllm.errors import MariTalkError
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.models.catalogue import catalogue, find
from maritalk_vllm.planning.best_variant import best_variant
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device, Settings
from tests.planning.machines import cpu, gpu_error, gpu_plan, hypothetical_machine, with_free
from tests.planning.strategies import machines


def variants(name: str, **given: object) -> list[ModelRequirements]:
    """The requirements of each checkpoint of a model of the catalogue."""
    model = find(name)
    assert model is not None
    return [
        ModelRequirements.from_settings(each.label, each.footprint, None, Settings(**given), variant=each.variant)  # type: ignore[arg-type]
        for each in model.checkpoints
    ]


OF_EACH_MODEL = [variants(name) for name, model in catalogue().items() if model.variants]


def best(name: str, inventory: Inventory, **given: object) -> ModelRequirements:
    return best_variant(variants(name, **given), inventory, Device.AUTO, Device.CUDA)


@pytest.mark.parametrize(
    ("gpus", "options", "chosen"),
    [
        ("1xA100-40GB", {}, "llama-3.1-8b"),
        ("1xA10", {}, "llama-3.1-8b"),
        ("1xA2", {}, "llama-3.1-8b:fp8"),
        ("1x3060", {}, "llama-3.1-8b:w4a16"),
        # More GPUs rather than fewer bits, and a shorter context rather than fewer bits.
        ("2xA2", {}, "llama-3.1-8b"),
        ("1xA10", {"max_model_len": 20_000}, "llama-3.1-8b"),
        # What the user asked for is never shortened or left out.
        ("1xA10", {"max_model_len": 60_000}, "llama-3.1-8b:fp8"),
        ("2xA2", {"tensor_parallel_size": 1, "pipeline_parallel_size": 1}, "llama-3.1-8b:fp8"),
        ("2xA2", {"replicas": "2"}, "llama-3.1-8b:fp8"),
        ("1xA10", {"gpu_memory_utilization": 0.4}, "llama-3.1-8b:w4a16"),
    ],
)
def test_best_that_fits_with_the_users_options_is_chosen(gpus: str, options: dict[str, object], chosen: str) -> None:
    found = best("llama-3.1-8b", hypothetical_machine(gpus), **options)
    assert found.name == chosen
    assert gpu_plan(found, hypothetical_machine(gpus)).title == chosen


def test_nothing_is_said_where_the_best_fits_with_its_whole_context() -> None:
    assert best("llama-3.1-8b", hypothetical_machine("1xA100-80GB")).choice == ""


def test_reason_has_the_shortage_of_each_better_variant_and_the_cost() -> None:
    machine = hypothetical_machine("1x3060")
    unquantized, fp8, _ = variants("llama-3.1-8b")
    found = best("llama-3.1-8b", machine)
    assert found.choice == (
        f"llama-3.1-8b:w4a16 is the best that fits. {gpu_error(unquantized, machine).message} "
        f"{gpu_error(fp8, machine).message} Its weights have 4 bits instead of 16, which can make answers worse. "
        "Of the score with 16 bits, its model card reports 98.9% in OpenLLM v1, 93.0% in Arena-Hard."
    )
    assert "each needs 9.1 GB for weights" in found.choice and "0.3 GB short" in found.choice
    assert gpu_plan(found, machine).adjustments[0] == found.choice


def test_no_score_is_claimed_that_the_model_card_does_not_have() -> None:
    found = best("qwen3-8b", hypothetical_machine("1xA2"))
    assert found.name == "qwen3-8b:fp8"
    assert "Its weights have 8 bits instead of 16, which can make answers worse." in found.choice
    assert "model card" not in found.choice


def test_a_shortened_context_names_the_variant_that_would_hold_more() -> None:
    machine = hypothetical_machine("1xA10")
    found = best("qwen3-8b", machine)
    assert found.name == "qwen3-8b"
    assert found.choice == "--model qwen3-8b:fp8 would hold 40960 tokens."
    fp8 = gpu_plan(variants("qwen3-8b")[1], machine)
    assert fp8.max_model_len == 40960


def test_error_is_that_of_the_smallest_if_none_fits() -> None:
    machine = hypothetical_machine("1x4060")
    found = best("qwen3-8b", machine)
    assert (found.name, found.choice) == ("qwen3-8b:w4a16", "")
    assert gpu_error(found, machine).message.startswith("qwen3-8b:w4a16 does not fit.")


@pytest.mark.parametrize("memory_gb", [4, 64])
def test_a_cpu_is_offered_the_model_without_quantization_alone(memory_gb: float) -> None:
    found = best_variant(variants("qwen3-8b"), cpu(memory_gb), Device.AUTO, Device.CPU)
    assert (found.name, found.choice) == ("qwen3-8b", "")
    named = variants("qwen3-8b")[1]
    with pytest.raises(MariTalkError, match=r"^qwen3-8b:fp8 does not run on a CPU: it needs an NVIDIA GPU"):
        make_plan(named, cpu(memory_gb), Device.CPU, Device.CPU)


def test_a_machine_without_a_suitable_gpu_has_the_error_of_the_model_itself() -> None:
    assert best("qwen3-8b", hypothetical_machine("1xT4")).name == "qwen3-8b"


def test_memory_that_others_use_counts() -> None:
    machine = hypothetical_machine("1xA10")
    assert best("qwen3-8b", machine).name == "qwen3-8b"
    assert best("qwen3-8b", with_free(machine, 14)).name == "qwen3-8b:fp8"
    assert best("qwen3-8b", with_free(machine, 10)).name == "qwen3-8b:w4a16"


def _fits(requirements: ModelRequirements, inventory: Inventory) -> bool:
    with contextlib.suppress(MariTalkError):
        gpu_plan(requirements, inventory)
        return True
    return False


@given(st.sampled_from(OF_EACH_MODEL), machines())
def test_first_that_fits_is_chosen_on_every_machine_and_nothing_else_of_it_changes(
    candidates: list[ModelRequirements], inventory: Inventory
) -> None:
    fits = [_fits(each, inventory) for each in candidates]
    assert fits == sorted(fits), "a smaller variant needs more"
    chosen = replace(best_variant(candidates, inventory, Device.AUTO, Device.CUDA), choice="")
    if any(fits):
        assert chosen == candidates[fits.index(True)]
    else:
        assert chosen in (candidates[0], candidates[-1])
