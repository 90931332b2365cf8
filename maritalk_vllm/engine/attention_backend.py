"""The attention backend on GPUs for which vLLM's own choice cannot be compiled."""

from collections.abc import Sequence

from ..hardware.cuda_host import CudaHost
from ..hardware.gpu import Gpu
from ..models.memory_footprint import MemoryFootprint
from ..planning.memory_flags import read_flags

PREFERS_FLASHINFER = 10
"""Major compute capability (B200, B300, GB200) for which vLLM chooses FlashInfer, which it does not ship compiled."""

_FLAGS = ("--attention-backend", "--attention-config", "-ac", "--config")
"""vLLM's flags by which a user may choose another."""


def attention_backend(
    gpus: Sequence[Gpu], host: CudaHost, footprint: MemoryFootprint | None, flags: Sequence[str]
) -> str | None:
    """The backend to pass to vLLM; None where its own choice, or the one in the user's `flags`, holds."""
    if not any(gpu.compute_capability[0] == PREFERS_FLASHINFER for gpu in gpus) or host.can_use_flashinfer:
        return None
    if any(flag.partition(".")[0] in _FLAGS for flag in read_flags(flags)):
        return None
    # FlashAttention has no multi-head latent attention on these GPUs, and vLLM rejects a backend that lacks it.
    return None if footprint is not None and footprint.shape.latent_size is not None else "FLASH_ATTN"
