"""When a checkpoint is chosen, and for how long the choice holds."""

from pathlib import Path

import pytest

from maritalk_vllm.server.startup.launch import decide
from maritalk_vllm.server.startup.variant_choice import VariantChoice, choose_variant, choose_variant_here
from maritalk_vllm.settings import Device, Settings
from tests.planning.machines import hypothetical_machine


def choice(**given: object) -> VariantChoice:
    """The choice on a GPU that holds Qwen3 8B in 8 bits, and not in 16."""
    return choose_variant(Settings(**given), hypothetical_machine("1xA2"), Device.AUTO, Device.CUDA)  # type: ignore[arg-type]


def test_a_model_with_variants_is_replaced_by_the_name_of_one() -> None:
    found = choice(model="qwen3-8b")
    assert found.model == "qwen3-8b:fp8"
    assert found.reason.startswith("qwen3-8b:fp8 is the best that fits. qwen3-8b does not fit.")
    settings = Settings(model="qwen3-8b", port=9100)
    assert found.applied(settings) == Settings(model="qwen3-8b:fp8", port=9100)
    assert choice(model="qwen3-4b") == VariantChoice("qwen3-4b:bf16", choice(model="qwen3-4b").reason)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"model": "small"},
        {"model": "qwen3-0.6b"},
        {"model": "qwen3-8b:w4a16"},
        {"model": "qwen3-8b:bf16"},
        {"model": "Qwen/Qwen3-8B"},
        # These flags are about the checkpoint that the model is without quantization.
        {"model": "qwen3-8b", "engine_args": ("--quantization", "fp8")},
        {"model": "qwen3-8b", "engine_args": ("-q=fp8",)},
        {"model": "qwen3-8b", "engine_args": ("--revision", "abc")},
    ],
)
def test_there_is_nothing_to_choose(given: dict[str, object]) -> None:
    found = choice(**given)
    assert found == VariantChoice()
    settings = Settings(**given)  # type: ignore[arg-type]
    assert found.applied(settings) is settings
    assert choose_variant_here(settings) == VariantChoice()


def test_a_folder_comes_before_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qwen3-8b").mkdir()
    assert choice(model="qwen3-8b") == VariantChoice()


def test_a_start_keeps_the_choice_while_it_downloads_and_the_settings_keep_the_users_name(tmp_path: Path) -> None:
    """Memory that becomes free meanwhile, or the exact size of the files, does not make it download another one."""
    settings = Settings(model="qwen3-0.6b", device=Device.CPU, cache_dir=tmp_path)
    launch = decide(settings, variant=VariantChoice("qwen3-0.6b:bf16", "The reason."))
    again = launch.resolve_again(settings, launch.access)
    for each in (launch, again):
        assert each.settings == settings
        assert (each.source.name, each.source.exact_name) == ("qwen3-0.6b", "qwen3-0.6b:bf16")
        assert each.plan.adjustments[0] == "The reason." and "The reason." in each.notes
    successor = launch.resolve_successor(settings, launch.access)
    assert "The reason." not in successor.plan.adjustments
