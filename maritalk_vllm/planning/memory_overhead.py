"""The memory of a GPU that neither weights nor KV cache take: of the driver, CUDA, NCCL and vLLM's profiling run. Pure.

Each term is a cause that is known; its size is that of logged starts of vLLM (benchmarks/memory_logs.json, which
`python -m benchmarks plan-accuracy` compares with the plan), on the cautious side of them.
"""

import math

from ..hardware.gpu import Gpu
from ..models.architecture import BYTES, ModelArchitecture
from .batch_limits import BatchLimits

_CONTEXT_BYTES = 768 << 20
_NVLINK_CONTEXT_BYTES = 1536 << 20
_LARGE_NVLINK_CONTEXT_BYTES = 2253 << 20
_LARGE_GROUP = 8
# The driver keeps memory that NVML counts and CUDA does not show: a fixed part, and tables that grow with the memory.
# An upper line: CUDA shows 79.25 of the 80.0 GiB of an A100, 79.19 of 79.65 (H100), 39.49 of 40.0 (A100-40GB),
# 44.4 of 45.0 (L40S), 31.36 of 31.84 (RTX 5090), 22.03 of 22.49 (L4) and 139.8 of 140.4 (H200).
_DRIVER_BYTES = 384 << 20
_DRIVER_SHARE = 0.005
# CUDA loads kernels when they first run; cuBLAS and the attention backend have workspaces; the rest is what PyTorch's
# allocator cannot return. vLLM subtracts the CUDA graphs from the KV cache since 0.21. Both together are 1.0 to 1.3 GiB
# in the logs of one GPU, of later versions as of 0.19.
_KERNEL_BYTES = 600 << 20
_CUDA_GRAPH_BYTES = 640 << 20
# What sharing each layer takes after vLLM's first snapshot: NCCL's channel buffers and the workspaces of symmetric
# memory and fused all-reduces. 1.5 to 2.6 GiB were logged on H100 (1.8 with vLLM 0.6.4: vLLM's pull request 10511), and
# 0.2 GiB over PCIe, where NCCL has fewer channels and its buffers are in the host's memory (RTX 3090: its 14447).
_NVLINK_BYTES = 2540 << 20
_PCIE_BYTES = 256 << 20
# Tensors of float32 that vLLM's sampler holds at once: logits, probabilities and noise, and the logits in 16 bits.
_SAMPLER_TENSORS = 3.5


def driver_bytes(gpu: Gpu) -> int:
    """Bytes of the GPU's total memory that CUDA does not report, and that vLLM's fraction therefore does not cover."""
    # An integrated GPU has no memory of its own: its total is the host's.
    return 0 if gpu.is_integrated else math.ceil(_DRIVER_BYTES + _DRIVER_SHARE * gpu.memory_total_bytes)


def context_bytes(tensor_parallel_size: int, nvlink: bool) -> int:
    """GPU memory that CUDA's context and NCCL take before vLLM looks at what is free: not part of its own share."""
    if tensor_parallel_size == 1 or not nvlink:
        return _CONTEXT_BYTES
    return _NVLINK_CONTEXT_BYTES if tensor_parallel_size < _LARGE_GROUP else _LARGE_NVLINK_CONTEXT_BYTES


def overhead_bytes(
    shape: ModelArchitecture, batch: BatchLimits, tensor_parallel_size: int, *, nvlink: bool, eager: bool
) -> int:
    """Bytes of its share that vLLM uses for neither weights nor KV cache, on a GPU that samples.

    That is a single GPU or one of the last pipeline stage, the fullest. `nvlink` is the link of the GPUs that share
    each layer; an `eager` engine has no CUDA graphs.
    """
    communication = (_NVLINK_BYTES if nvlink else _PCIE_BYTES) if tensor_parallel_size > 1 else 0
    graphs = 0 if eager else _CUDA_GRAPH_BYTES
    return _peak_bytes(shape, batch, tensor_parallel_size) + communication + graphs + _KERNEL_BYTES


def _peak_bytes(shape: ModelArchitecture, batch: BatchLimits, tensor_parallel_size: int) -> int:
    """The most that vLLM's profiling run holds at once: it computes the largest step, then it samples all sequences."""
    bytes_per_number = BYTES.get(shape.dtype, 2)
    hidden = batch.tokens * shape.hidden_size * bytes_per_number
    # Input and residual; gate, up and their product of the MLP.
    layer = 2 * hidden + batch.tokens * math.ceil(3 * shape.intermediate_size / tensor_parallel_size) * bytes_per_number
    sampler = hidden + math.ceil(_SAMPLER_TENSORS * 4 * batch.sequences * shape.vocabulary_size)
    return max(layer, sampler)
