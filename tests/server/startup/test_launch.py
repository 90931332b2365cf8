"""The licence's expiry in a resolved start."""

import time
from pathlib import Path

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.server.startup.launch import decide
from maritalk_vllm.settings import Device, Settings
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
