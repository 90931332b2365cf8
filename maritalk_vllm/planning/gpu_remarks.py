"""The sentences about a GPU plan: its split, what was adjusted, warnings, and why each other GPU is not used. Pure."""

from collections.abc import Iterator, Sequence

from ..hardware.gpu import Gpu
from ..hardware.host import Host
from ..hardware.interconnect import Link
from ..hardware.inventory import Inventory
from ..i18n.message import joined, msg, pluralized
from ..text_format import gigabytes
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
    kind = pluralized(identical, "{number} GPU", "{number} GPUs")
    if identical < len(gpus):
        kind = msg("{gpus} of the kind {name}", gpus=kind, name=first.name)
    nodes = msg(", on each of {number} nodes", number=placement.nodes) if placement.nodes > 1 else ""
    replicas = msg(", in {number} copies", number=placement.replicas) if placement.replicas > 1 else ""
    where = joined("", (kind, nodes, replicas))
    why = joined("", (_rule(requirements, placement), _user_flags(requirements)))
    return msg("over {number} of {where}, {why}.", number=len(placement.gpus), where=where, why=why)


def _user_flags(requirements: ModelRequirements) -> str:
    flags = {
        "--tensor-parallel-size": requirements.tensor_parallel_size,
        "--pipeline-parallel-size": requirements.pipeline_parallel_size,
    }
    text = " ".join(f"{flag} {size}" for flag, size in flags.items() if size is not None)
    return msg(", with {flags}", flags=text) if text else ""


def _rule(requirements: ModelRequirements, placement: Placement) -> str:
    parallelism, planned_len = placement.parallelism, requirements.planned_max_len
    if placement.context < planned_len:
        tokens = pluralized(
            len(placement.gpus) * placement.nodes,
            "which holds {context} of {planned} tokens",
            "which hold {context} of {planned} tokens",
            context=placement.context,
            planned=planned_len,
        )
        if not placement.longest:
            return msg("{tokens}: no split with as few stages holds more", tokens=tokens)
        return msg("{tokens}: no split holds more", tokens=tokens)
    if placement.nodes > 1:
        return msg("the fewest stages that hold all {number} tokens", number=planned_len)
    if parallelism.pipeline > 1 and requirements.pipeline_parallel_size is None:
        return msg(
            "the fewest that hold all {number} tokens, which tensor parallelism alone does not", number=planned_len
        )
    # A pipeline may need fewer GPUs, but is tried last, since it is slower.
    if parallelism.tensor > 2 and requirements.pipeline_parallel_size is None:
        return msg("the fewest that hold all {number} tokens by tensor parallelism alone", number=planned_len)
    return msg("the fewest that hold all {number} tokens", number=planned_len)


def adjustments(requirements: ModelRequirements, placement: Placement, fullest: Candidate) -> Iterator[str]:
    """Yield what differs from the model's own context, and from vLLM's default share, for lack of memory."""
    if placement.context < requirements.planned_max_len:
        yield (
            msg(
                "max_model_len: {context} instead of {longest} tokens, the longest that {size} of KV cache on each "
                "card hold.",
                context=placement.context,
                longest=requirements.planned_max_len,
                size=gigabytes(fullest.kv_cache_bytes),
            )
        )
    share, gpu = fullest.gpu_memory_utilization, fullest.gpu
    if requirements.gpu_memory_utilization is None and share < DEFAULT_GPU_MEMORY_UTILIZATION:
        yield (
            msg(
                "gpu_memory_utilization: {share} instead of {default_gpu_memory_utilization}, since {memory_free} of "
                "{memory_total} are free on {card}.",
                share=f"{share:g}",
                default_gpu_memory_utilization=f"{DEFAULT_GPU_MEMORY_UTILIZATION:g}",
                memory_free=gigabytes(gpu.memory_free_bytes),
                memory_total=gigabytes(gpu.memory_total_bytes),
                card=label(gpu),
            )
        )


def host_warnings(requirements: ModelRequirements, host: Host, gpu_count: int) -> Iterator[str]:
    """Yield warnings about the RAM and the shared memory of a host with `gpu_count` GPUs in use."""
    recommended = requirements.profile.host_memory_gb * 10**9 if requirements.profile else 0
    memory = host.memory_bound_bytes
    if memory < recommended:
        yield (
            msg(
                "This machine has {memory} of memory, and {title} should have {recommended} to load: it will load, "
                "since its files are mapped, but slowly.",
                memory=gigabytes(memory),
                title=requirements.title,
                recommended=gigabytes(recommended),
            )
        )
    if gpu_count > 1 and host.shared_memory_bytes is not None and host.shared_memory_bytes <= _SHARED_BYTES:
        yield (
            msg(
                "/dev/shm has {size}, too little for {cards} GPUs to communicate: docker run --ipc=host or "
                "--shm-size=8g.",
                size=gigabytes(host.shared_memory_bytes),
                cards=gpu_count,
            )
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
            msg(
                "The layers are spread over {nodes} nodes (pipeline parallel {pipeline}): one user is answered more "
                "slowly.",
                nodes=placement.nodes,
                pipeline=parallelism.pipeline,
            )
        )
    elif parallelism.pipeline > 1:
        why = (
            ""
            if requirements.pipeline_parallel_size
            else msg(", since tensor parallelism alone does not hold {tokens} tokens", tokens=placement.context)
        )
        yield (
            msg(
                "The layers are spread over {pipeline} stages (pipeline parallel){why}: one user is answered more "
                "slowly.",
                pipeline=parallelism.pipeline,
                why=why,
            )
        )
    if parallelism.tensor > len(gpus):
        yield "Each layer is shared between nodes (tensor parallel): every token waits for the network in each of them."
    elif parallelism.tensor > 1:
        groups = [gpus[first : first + parallelism.tensor] for first in range(0, len(gpus), parallelism.tensor)]
        weakest = min((weakest_link(group, inventory.links) or Link.NVLINK) for group in groups)
        if weakest < Link.SWITCH:
            yield msg(
                "The cards are linked through {text}, without NVLink: tensor parallelism loses speed to it.",
                text=weakest.text,
            )
    idle = sum(each.reason == _NOT_NEEDED for each in unneeded)
    if placement.nodes > 1 and idle:
        yield msg("Idle: {cards} of this kind on each node.", cards=pluralized(idle, "{number} GPU", "{number} GPUs"))
    elif idle >= parallelism.gpu_count:
        yield msg(
            "Idle: {gpus} of this kind; --replicas auto starts more replicas on them.",
            gpus=pluralized(idle, "{number} GPU", "{number} GPUs"),
        )
    elif idle:
        yield msg(
            "Idle: {gpus} of this kind, too few for another replica.",
            gpus=pluralized(idle, "{number} GPU", "{number} GPUs"),
        )


def unneeded_gpus(suitable: Sequence[Gpu], placement: Placement) -> tuple[RejectedGpu, ...]:
    """The suitable GPUs that were not chosen, each with the reason."""
    return tuple(
        RejectedGpu(gpu.uuid, _why_unneeded(gpu, placement.gpus), label(gpu))
        for gpu in suitable
        if gpu not in placement.gpus
    )


def _why_unneeded(gpu: Gpu, chosen: Sequence[Gpu]) -> str:
    if not _is_same_kind(gpu, chosen[0]):
        return msg("of another kind than the {name} that were chosen", name=chosen[0].name)
    if gpu.memory_free_bytes < min(each.memory_free_bytes for each in chosen):
        return msg("less free than the others: {size}", size=gigabytes(gpu.memory_free_bytes))
    return _NOT_NEEDED


def _is_same_kind(gpu: Gpu, other: Gpu) -> bool:
    return (gpu.name, gpu.memory_total_bytes) == (other.name, other.memory_total_bytes)
