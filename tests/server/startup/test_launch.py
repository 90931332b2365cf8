"""What a decided start knows of the licence that allows it."""

import time
from pathlib import Path

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.server.startup.launch import decide
from maritalk_vllm.settings import Device, Settings
from tests.licensing.keys import Keys


def test_when_a_licence_with_an_end_ends(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    settings = Settings(
        license=keys.license("demo"), license_public_key=(keys.public,), device=Device.CPU, cache_dir=tmp_path
    )
    assert decide(settings).license_expires == pytest.approx(time.time() + 86_400, abs=30)


def test_the_evaluation_has_no_end(tmp_path: Path) -> None:
    settings = Settings(license=EVALUATION_KEY, device=Device.CPU, cache_dir=tmp_path)
    assert decide(settings).license_expires is None
