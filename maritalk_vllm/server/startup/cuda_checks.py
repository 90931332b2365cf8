"""Checks of a host with GPUs, beside its memory: what vLLM's CUDA build could not start without.

A start and `--dry-run` end with the first problem; doctor shows all of them.
"""

from collections.abc import Iterator

from ...engine.driver_failures import ADVISE_WHOLE_DRIVER
from ...engine.kernel_failures import ADVISE_C_COMPILER, ADVISE_HEADERS
from ...engine.torch_build import TorchBuild, installed_torch
from ...errors import EngineError, MariTalkError, NoSuitableGPU
from ...hardware.cuda_host import CudaHost
from ...hardware.gpu import Driver
from ...i18n.message import msg
from ...planning.gpu_selection import dotted


def check_cuda(driver: Driver | None, host: CudaHost) -> None:
    """Raise NoSuitableGPU or EngineError for the first problem."""
    for _, error in cuda_problems(driver, host, installed_torch()):
        raise error


def cuda_problems(
    driver: Driver | None, host: CudaHost, torch: TorchBuild | None
) -> Iterator[tuple[str, MariTalkError]]:
    """Yield each problem with the name of its check. What is unknown (None) is no problem."""
    if not host.has_libcuda:
        message = "The NVIDIA driver's library libcuda.so.1 is not here, without which CUDA cannot run."
        yield "libcuda", NoSuitableGPU(message, ADVISE_WHOLE_DRIVER)
    if torch is not None and torch.cuda is None:
        yield (
            "torch",
            EngineError(
                msg("The installed torch {version} is not built for CUDA, which vLLM is.", version=torch.version),
                msg(
                    "Install its CUDA build: pip install --force-reinstall torch=={version}",
                    version=torch.version.partition("+")[0],
                ),
            ),
        )
    # Within a major version, torch runs on the driver of any minor one.
    elif (
        torch is not None
        and torch.cuda is not None
        and driver is not None
        and 0 < driver.cuda_version[0] < torch.cuda[0]
    ):
        yield (
            "cuda",
            NoSuitableGPU(
                msg(
                    "The driver runs CUDA up to {cuda}, and the installed torch was built for CUDA {needed}.",
                    cuda=dotted(driver.cuda_version),
                    needed=torch.cuda[0],
                ),
                "Update the NVIDIA driver.",
            ),
        )
    if not host.has_c_compiler:
        message = "There is no C compiler, with which Triton builds vLLM's kernels at a start."
        yield "compiler", EngineError(message, ADVISE_C_COMPILER)
    if not host.has_python_headers:
        message = msg(
            "{file} is missing, which Triton needs to build vLLM's kernels at a start.", file=host.python_header
        )
        yield "compiler", EngineError(message, ADVISE_HEADERS)
