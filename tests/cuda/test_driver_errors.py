"""doctor on hosts whose driver has an error, which a start would meet in a worker only: exit code and sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cuda.host import Host
from tests.serving import free_port

pytestmark = pytest.mark.cuda

ERRORS = {
    46: "another process uses a GPU exclusively, or its compute mode forbids processes.",
    100: "CUDA does not see a GPU that the plan uses.",
    802: "the NVSwitch that connects the GPUs is not initialized: NVIDIA Fabric Manager does not run.",
    803: "the driver's libraries and its kernel module are of versions that do not work together.",
    804: "the driver's libraries and its kernel module are of versions that do not work together.",
    999: "CUDA could not be initialized, and the driver does not say why.",
}
"""What cuInit returns, by cuda.h, and what the user reads."""


@pytest.mark.parametrize("code", ERRORS)
def test_doctor_prints_what_the_driver_reports(
    code: int, host: Callable[[str], Host], split_model: Path, tmp_path: Path
) -> None:
    arguments = ("--model", split_model, "--cache-dir", tmp_path, "--port", str(free_port()))
    examined = host("A100").run("maritalk-vllm", "doctor", *arguments, FAKE_CUDA_ERROR=str(code))
    assert examined.returncode == 4, examined.stdout
    assert f"CUDA cannot be initialized (error {code}): {ERRORS[code]}" in examined.stdout
