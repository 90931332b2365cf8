"""The GPUs of this machine, asked of the driver through NVML. The only file that imports pynvml."""

import contextlib
from collections.abc import Iterator

import pynvml

from ..errors import NoSuitableGPU
from .gpu import Gpu

_NO_DRIVER = (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, pynvml.NVML_ERROR_DRIVER_NOT_LOADED)


def gpus() -> tuple[Gpu, ...]:
    """Every GPU that the driver knows; none where there is no driver. Raises NoSuitableGPU if it does not answer."""
    try:
        with _nvml():
            return tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        if error.value in _NO_DRIVER:
            return ()
        raise NoSuitableGPU(
            f"The NVIDIA driver is installed but does not answer: {error}.",
            "Check it with nvidia-smi, or serve on the CPU with --device cpu.",
        ) from error


@contextlib.contextmanager
def _nvml() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=pynvml.nvmlDeviceGetName(handle),
        memory_total_bytes=memory.total,
        memory_free_bytes=memory.free,
        compute_capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
    )
