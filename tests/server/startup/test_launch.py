"""Decisions of a start: the model's source, and the licence's expiry."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.models.profile import find
from maritalk_vllm.server.startup.launch import decide
from maritalk_vllm.settings import Device, Settings
from maritalk_vllm.weights.model_source import Source
from tests.licensing.keys import Keys


def test_launch_has_the_expiry_of_the_licence(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    settings = Settings(
        license=keys.license("demo"), license_public_key=(keys.public,), device=Device.CPU, cache_dir=tmp_path
    )
    assert decide(settings).license_expires == pytest.approx(time.time() + 86_400, abs=30)


def test_evaluation_licence_does_not_expire(tmp_path: Path) -> None:
    settings = Settings(license=EVALUATION_KEY, device=Device.CPU, cache_dir=tmp_path)
    assert decide(settings).license_expires is None


def test_launch_has_the_source_of_its_model(tmp_path: Path) -> None:
    launch = decide(Settings(license=EVALUATION_KEY, device=Device.CPU, cache_dir=tmp_path))
    assert (launch.source.name, launch.source.must_be_prepared) == ("demo", True)
    assert launch.engine_args[:4] == ["--model", launch.source.location, "--served-model-name", "demo"]
    assert launch.plan.model == "demo"


def test_the_demo_model_is_named_first_and_no_other_is_called_so(tmp_path: Path) -> None:
    launch = decide(Settings(license=EVALUATION_KEY, device=Device.CPU, cache_dir=tmp_path))
    assert launch.notes[0] == "Demo model SmolLM2-135M: English only, not MariTalk."
    assert "maritalk-serve --model qwen3-4b" in launch.notes[1]
    asked = decide(Settings(model="demo", license=EVALUATION_KEY, device=Device.CPU, cache_dir=tmp_path))
    assert asked.notes == (launch.notes[0], *launch.notes[2:]), "no offer to those who asked for the demo model"
    small = find("small")
    assert small is not None
    assert [Source("x", "/x", profile).is_demo for profile in (None, small)] == [False, False]


def test_a_model_of_the_catalogue_has_its_parser_and_template_arguments(tmp_path: Path) -> None:
    launch = decide(Settings(model="qwen3-0.6b", device=Device.CPU, cache_dir=tmp_path))
    flags = launch.engine_args
    assert flags[flags.index("--served-model-name") + 1] == "qwen3-0.6b"
    assert flags[flags.index("--tool-call-parser") + 1] == "hermes"
    assert flags[flags.index("--default-chat-template-kwargs") + 1] == '{"enable_thinking": false}'


@pytest.mark.parametrize("license", ["ABCDE-FGHIJ-KLMNO-PQRST", "no key at all"])
def test_an_open_model_takes_any_licence(tmp_path: Path, license: str) -> None:
    """Such as the key of MariTalk Local, which a program passes to the client's start_server."""
    settings = Settings(model="qwen3-0.6b", license=license, device=Device.CPU, cache_dir=tmp_path)
    launch = decide(replace(settings, license_service="http://127.0.0.1:9"))
    assert (launch.plan.model, launch.license_expires) == ("qwen3-0.6b", None)


def test_resolving_again_keeps_what_was_read(tmp_path: Path) -> None:
    settings = Settings(license=EVALUATION_KEY, device=Device.CPU, cache_dir=tmp_path, api_key=("secret",))
    launch = decide(settings)
    again = launch.resolve_again(settings, launch.access)
    assert again.access is launch.access
    assert (again.source, again.plan.model) == (launch.source, "demo")
