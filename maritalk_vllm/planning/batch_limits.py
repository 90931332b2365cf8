"""vLLM's limits per step, whose defaults depend on the device. Pure."""

from dataclasses import dataclass

from ..hardware.gpu import Gpu

GiB = 1 << 30


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The most that one step of vLLM takes: tokens computed, and sequences sampled."""

    tokens: int
    sequences: int


CPU_BATCH = BatchLimits(2048, 128)
"""vLLM's default limits for each worker on a CPU."""


def default_batch_limits(gpu: Gpu) -> BatchLimits:
    """The defaults of vLLM's EngineArgs.get_batch_defaults for a server (0.32 and 0.33).

    They are the same in both versions, except for GB10: these are 0.32's, and 0.33 has a quarter of them.
    """
    if gpu.memory_total_bytes >= 160 * GiB:
        return BatchLimits(16384, 1024)
    # For a MIG instance, vLLM may see the memory of the whole GPU.
    large = gpu.memory_total_bytes >= 70 * GiB or gpu.is_mig_instance
    if large and "a100" not in gpu.name.lower():
        return BatchLimits(8192, 1024)
    return BatchLimits(2048, 256)
