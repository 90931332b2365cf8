"""Have vLLM ask the driver about the GPU of a MIG instance, not about another GPU.

vLLM turns each entry of CUDA_VISIBLE_DEVICES into the number of a GPU, by nvmlDeviceGetIndex. For an instance this is
its place in its GPU: vLLM then reads the capability and the memory of another GPU, or fails with "Invalid Argument" if
there are not so many (vLLM issue 41848).
"""

import functools
from typing import Any


def resolve_mig_instances() -> None:
    """Patch vLLM's NVML in this process and in processes forked from it, before vLLM asks for a GPU's capability."""
    from vllm.third_party import pynvml

    find = pynvml.nvmlDeviceGetIndex
    if hasattr(find, "__wrapped__"):
        return

    @functools.wraps(find)
    def find_gpu(device: Any) -> int:  # noqa: ANN401
        if pynvml.nvmlDeviceIsMigDeviceHandle(device):
            device = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device)
        index: int = find(device)
        return index

    pynvml.nvmlDeviceGetIndex = find_gpu
