"""The driver's result of the initialization of CUDA: the stand-in of tests/cuda, or an empty library."""

import os
from pathlib import Path

import pytest

from maritalk_vllm.hardware import cuda_init
from maritalk_vllm.hardware.cuda_init import cuda_init_error
from tests.cuda.host import compile_driver


@pytest.mark.parametrize("code", [0, 100, 802])
def test_the_error_is_the_drivers(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "initialised"
    monkeypatch.setenv("LD_LIBRARY_PATH", str(compile_driver(tmp_path)))
    monkeypatch.setenv("FAKE_CUDA_ERROR", str(code))
    monkeypatch.setenv("FAKE_CUDA_LOG", str(record))
    assert cuda_init_error() == code
    (line,) = record.read_text().splitlines()
    assert not line.startswith(f"{os.getpid()} ")


def test_a_library_without_the_function_is_unknown(nvml_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(nvml_library))
    assert cuda_init_error() is None


def test_a_driver_that_does_not_return_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_init, "_ASK", "import time; time.sleep(60)")
    monkeypatch.setattr(cuda_init, "_SECONDS", 0.2)
    assert cuda_init_error() is None
