"""Checks that fail a start on GPUs before anything is loaded."""

from dataclasses import replace

import pytest

from maritalk_vllm.engine.torch_build import TorchBuild
from maritalk_vllm.errors import EngineError, MariTalkError, NoSuitableGPU
from maritalk_vllm.hardware.cuda_host import CudaHost
from maritalk_vllm.hardware.gpu import Driver
from maritalk_vllm.server.startup import cuda_checks
from maritalk_vllm.server.startup.cuda_checks import check_cuda, cuda_problems
from tests.hardware.test_cuda_host import BARE, COMPLETE

CUDA_12, CUDA_13 = Driver("570.86.15", (12, 8)), Driver("580.65.06", (13, 0))
TORCH = TorchBuild("2.13.0+cu130", (13, 0))


@pytest.mark.parametrize(
    ("driver", "host", "torch"),
    [
        (CUDA_13, COMPLETE, TORCH),
        (CUDA_13, BARE, TORCH),
        (CUDA_13, BARE, replace(TORCH, cuda=(13, 2))),  # any minor version of the same major one runs
        (CUDA_13, BARE, replace(TORCH, cuda=(12, 8))),
        (CUDA_12, BARE, None),
        (Driver("?", (0, 0)), BARE, TORCH),  # unknown
        (None, BARE, TORCH),
    ],
)
def test_a_host_that_can_start(driver: Driver | None, host: CudaHost, torch: TorchBuild | None) -> None:
    assert list(cuda_problems(driver, host, torch)) == []


@pytest.mark.parametrize(
    ("driver", "host", "torch", "error", "message", "hint"),
    [
        (CUDA_13, replace(BARE, has_libcuda=False), TORCH, NoSuitableGPU, "libcuda.so.1", "NVIDIA_DRIVER_CAPABILITIES"),
        (
            CUDA_12,
            BARE,
            TORCH,
            NoSuitableGPU,
            "The driver runs CUDA up to 12.8, and the installed torch was built for CUDA 13.",
            "Update the NVIDIA driver.",
        ),
        (
            CUDA_13,
            BARE,
            TorchBuild("2.13.0+cpu", None),
            EngineError,
            "The installed torch 2.13.0+cpu is not built for CUDA",
            "pip install --force-reinstall torch==2.13.0",
        ),
        (CUDA_13, replace(BARE, has_c_compiler=False), TORCH, EngineError, "no C compiler", "apt-get install gcc"),
        (
            CUDA_13,
            replace(BARE, has_python_headers=False),
            TORCH,
            EngineError,
            "/usr/include/python3.12/Python.h is missing",
            "-dev",
        ),
    ],
)
def test_problems_that_would_fail_a_start(
    driver: Driver, host: CudaHost, torch: TorchBuild, error: type[MariTalkError], message: str, hint: str
) -> None:
    ((_, found),) = cuda_problems(driver, host, torch)
    assert type(found) is error
    assert message in found.message
    assert hint in found.hint


def test_a_start_ends_with_the_first_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_checks, "installed_torch", lambda: TORCH)
    check_cuda(CUDA_13, BARE)
    with pytest.raises(NoSuitableGPU, match=r"libcuda\.so\.1"):
        check_cuda(CUDA_12, replace(BARE, has_libcuda=False, has_c_compiler=False))
