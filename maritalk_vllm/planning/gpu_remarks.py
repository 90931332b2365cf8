"""The sentences about a GPU plan: its split, what was adjusted, warnings, and why each other GPU is not used. Pure."""

from collections.abc import Iterator, Sequence

from ..hardware.gpu import Gpu
from ..hardware.host import Host
from ..hardware.interconnect import Link
from ..hardware.inventory import Inventory
from ..text_format import gigabytes, pluralize
from .candidate import DEFAULT_GPU_MEMORY_UTILIZATION, Candidate
from .gpu_selection import RejectedGpu, label, weakest_link
from .model_requirements import ModelRequirements
from .placement import Placement

_NOT_NEEDED = "not needed"

_SHARED_BYTES = 64 << 20
"""Docker's default size of /dev/shm, too small for NCCL and vLLM's queues between workers."""


def describe_split(requirements: ModelRequirements, placement: Placement, gpus: Sequence[Gpu]) -> str:
    """How many of `gpus` are used, by which rule, and for which context."""
    first = placement.gpus[0]
    identical = sum(_is_same_kind(gpu, first) for gpu in gpus)
    kind = "GPUs" if identical == len(gpus) else f"GPUs of the kind {first.name}"
    nodes = f", on each of {placement.nodes} nodes" if placement.nodes > 1 else ""
    replicas = f", in {placement.replicas} copies" if placement.replicas > 1 else ""
    where, why = f"{kind}{nodes}{replicas}", f"{_rule(requirements, placement)}{_user_flags(requirements)}"
    return f"Split: over {len(placement.gpus)} of {identical} {where}, {why}."


def _user_flags(requirements: ModelRequirements) -> str:
    flags = {
        "--tensor-parallel-size": requirements.tensor_parallel_size,
        "--pipeline-parallel-size": requirements.pipeline_parallel_size,
    }
    text = " ".join(f"{flag} {size}" for flag, size in flags.items() if size is not None)
    return f", with {text}" if text else ""


def _rule(requirements: ModelRequirements, placement: Placement) -> str:
    parallelism, planned_len = placement.parallelism, requirements.planned_max_len
    if placement.context < planned_len:
        return f"which hold {placement.context} of {planned_len} tokens: no split holds more"
    if placement.nodes > 1:
        return f"the fewest stages that hold all {planned_len} tokens"
    if parallelism.pipeline > 1 and requirements.pipeline_parallel_size is None:
        return f"the fewest that hold all {planned_len} tokens, which tensor parallelism alone does not"
    # A pipeline may need fewer GPUs, but is tried last, since it is slower.
    if parallelism.tensor > 2 and requirements.pipeline_parallel_size is None:
        return f"the fewest that hold all {planned_len} tokens by tensor parallelism alone"
    return f"the fewest that hold all {planned_len} tokens"


def adjustments(requirements: ModelRequirements, placement: Placement, fullest: Candidate) -> Iterator[str]:
    """Yield what differs from the model's own context, and from vLLM's default share, for lack of memory."""
    if placement.context < requirements.planned_max_len:
        yield (
            f"max_model_len: {placement.context} instead of {requirements.planned_max_len} tokens, the longest that "
            f"{gigabytes(fullest.kv_cache_bytes)} of KV cache on each card hold."
        )
    share, gpu = fullest.gpu_memory_utilization, fullest.gpu
    if requirements.gpu_memory_utilization is None and share < DEFAULT_GPU_MEMORY_UTILIZATION:
        yield (
            f"gpu_memory_utilization: {share:g} instead of {DEFAULT_GPU_MEMORY_UTILIZATION:g}, since "
            f"{gigabytes(gpu.memory_free_bytes)} of {gigabytes(gpu.memory_total_bytes)} are free on {label(gpu)}."
        )


def host_warnings(requirements: ModelRequirements, host: Host, gpu_count: int) -> Iterator[str]:
    """Yield warnings about the RAM and the shared memory of a host with `gpu_count` GPUs in use."""
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


def placement_warnings(
    requirements: ModelRequirements, placement: Placement, inventory: Inventory, unneeded: Sequence[RejectedGpu]
) -> Iterator[str]:
    """Yield warnings about nodes, pipeline stages, slow links and idle GPUs; `unneeded` as from `unneeded_gpus`."""
    parallelism, gpus = placement.parallelism, placement.gpus
    if placement.nodes > 1:
        yield "The other nodes are assumed to have the same cards, with as much memory free."
    if parallelism.pipeline > 1 and placement.nodes > 1:
        yield (
            f"The layers are spread over {placement.nodes} nodes (pipeline parallel {parallelism.pipeline}): "
            "one user is answered more slowly."
        )
    elif parallelism.pipeline > 1:
        why = (
            ""
            if requirements.pipeline_parallel_size
            else f", since tensor parallelism alone does not hold {placement.context} tokens"
        )
        yield (
            f"The layers are spread over {parallelism.pipeline} stages (pipeline parallel){why}: "
            "one user is answered more slowly."
        )
    if parallelism.tensor > len(gpus):
        yield "Each layer is shared between nodes (tensor parallel): every token waits for the network in each of them."
    elif parallelism.tensor > 1:
        groups = [gpus[first : first + parallelism.tensor] for first in range(0, len(gpus), parallelism.tensor)]
        weakest = min((weakest_link(group, inventory.links) or Link.NVLINK) for group in groups)
        if weakest < Link.SWITCH:
            yield f"The cards are linked through {weakest.text}, without NVLink: tensor parallelism loses speed to it."
    idle = sum(each.reason == _NOT_NEEDED for each in unneeded)
    if placement.nodes > 1 and idle:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind on each node."
    elif idle >= parallelism.gpu_count:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind; --replicas auto starts more replicas on them."
    elif idle:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind, too few for another replica."


def unneeded_gpus(suitable: Sequence[Gpu], placement: Placement) -> tuple[RejectedGpu, ...]:
    """The suitable GPUs that were not chosen, each with the reason."""
    return tuple(
        RejectedGpu(gpu.uuid, _why_unneeded(gpu, placement.gpus), label(gpu))
        for gpu in suitable
        if gpu not in placement.gpus
    )


def _why_unneeded(gpu: Gpu, chosen: Sequence[Gpu]) -> str:
    if not _is_same_kind(gpu, chosen[0]):
        return f"of another kind than the {chosen[0].name} that were chosen"
    if gpu.memory_free_bytes < min(each.memory_free_bytes for each in chosen):
        return f"less free than the others: {gigabytes(gpu.memory_free_bytes)}"
    return _NOT_NEEDED


def _is_same_kind(gpu: Gpu, other: Gpu) -> bool:
    return (gpu.name, gpu.memory_total_bytes) == (other.name, other.memory_total_bytes)
