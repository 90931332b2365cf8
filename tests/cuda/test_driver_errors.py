"""Hosts whose driver has an error, which a start meets in a worker only: its exit code and sentence, and doctor's."""

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
def test_doctor_and_a_start_print_what_the_driver_reports(
    code: int, host: Callable[[str], Host], split_model: Path, tmp_path: Path
) -> None:
    """The start is with vLLM's own worker, the only process that initialises CUDA."""
    machine, driver = host("A100"), {"FAKE_CUDA_ERROR": str(code)}
    arguments = ("--model", split_model, "--cache-dir", tmp_path, "--port", str(free_port()))
    started = machine.run("maritalk-serve", *arguments, **driver)
    assert started.returncode == 4, started.stderr
    assert f"vLLM failed to start: {ERRORS[code]}" in started.stderr
    assert {process.strip() for process in machine.initialised_by()} == {"VLLM::EngineCore"}
    examined = machine.run("maritalk-vllm", "doctor", *arguments, **driver)
    assert examined.returncode == 4, examined.stdout
    assert f"CUDA cannot be initialized (error {code}): {ERRORS[code]}" in examined.stdout
