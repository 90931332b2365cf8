"""Check that the host has enough RAM and shared memory for its GPUs. Pure."""

from collections.abc import Iterator

from ..errors import DoesNotFit
from ..hardware.host import Host
from ..text_format import gigabytes
from .model_requirements import ModelRequirements

_SERVER_BYTES = 2 * 10**9
"""RAM of our processes and vLLM's, without the workers."""

_WORKER_BYTES = 3 * 10**9
"""RAM of a worker: CUDA's libraries and context, pinned buffers. The kernel can evict the weights, which are mapped."""

_SHARED_BYTES = 64 << 20
"""Docker's default size of /dev/shm, too small for NCCL and vLLM's queues between workers."""


def check_host(requirements: ModelRequirements, host: Host | None, gpu_count: int) -> Iterator[str]:
    """Yield warnings. Raises DoesNotFit if the container's memory limit is below what cannot be swapped out."""
    if host is None:
        return
    pinned = _SERVER_BYTES + _WORKER_BYTES * gpu_count
    limit = host.memory_limit_bytes
    if limit is not None and limit < pinned:
        raise DoesNotFit(
            f"The container may use {gigabytes(limit)} of memory; the processes of {gpu_count} GPUs keep "
            f"{gigabytes(pinned)} that cannot be swapped out.",
            f"Give it {gigabytes(pinned)} or more (docker run --memory, resources.limits.memory in Kubernetes).",
        )
    recommended = requirements.profile.host_memory_gb * 10**9 if requirements.profile else 0
    memory = host.memory_bound_bytes
    if memory < recommended:
        yield (
            f"This machine has {gigabytes(memory)} of memory, and {requirements.title} should have "
            f"{gigabytes(recommended)} to load: it will load, since its files are mapped, but slowly."
        )
    if gpu_count > 1 and host.shared_memory_bytes is not None and host.shared_memory_bytes <= _SHARED_BYTES:
        yield (
            f"/dev/shm has {gigabytes(host.shared_memory_bytes)}, too little for {gpu_count} GPUs to talk to each "
            "other: docker run --ipc=host or --shm-size=8g."
        )
