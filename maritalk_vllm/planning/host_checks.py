"""What the machine around the GPUs has to have. Pure."""

from collections.abc import Iterator

from ..errors import DoesNotFit
from ..hardware.host import Host
from ..text_format import gigabytes
from .model_requirements import ModelRequirements

_SERVER_BYTES = 2 * 10**9
"""Our processes and vLLM's, without the workers."""

_WORKER_BYTES = 3 * 10**9
"""A worker: CUDA's libraries and context, pinned buffers. The weights are mapped, and may leave memory again."""

_SHARED_BYTES = 64 << 20
"""Docker's own limit on /dev/shm, too little for NCCL and vLLM's queues between workers."""


def check_host(need: ModelRequirements, host: Host | None, cards: int) -> Iterator[str]:
    """Warnings. Raises DoesNotFit if a container's limit is under what cannot leave memory."""
    if host is None:
        return
    pinned = _SERVER_BYTES + _WORKER_BYTES * cards
    limit = host.memory_limit_bytes
    if limit is not None and limit < pinned:
        raise DoesNotFit(
            f"The container may use {gigabytes(limit)} of memory; the processes of {cards} GPUs keep "
            f"{gigabytes(pinned)} that cannot be swapped out.",
            f"Give it {gigabytes(pinned)} or more (docker run --memory, resources.limits.memory in Kubernetes).",
        )
    wanted = need.profile.host_memory_gb * 10**9 if need.profile else 0
    has = host.memory_bound_bytes
    if has < wanted:
        yield (
            f"This machine has {gigabytes(has)} of memory, and {need.title} should have {gigabytes(wanted)} to load: "
            "it will load, since its files are mapped, but slowly."
        )
    if cards > 1 and host.shared_memory_bytes is not None and host.shared_memory_bytes <= _SHARED_BYTES:
        yield (
            f"/dev/shm has {gigabytes(host.shared_memory_bytes)}, too little for {cards} GPUs to talk to each other: "
            "docker run --ipc=host or --shm-size=8g."
        )
