"""Sentences that explain why a model does not fit. Pure."""

import math
from collections.abc import Sequence

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu, GpuProcess
from ..i18n.message import joined, msg, pluralized
from ..models.memory_footprint import MemoryFootprint
from ..text_format import gigabytes
from .candidate import Candidate, Parallelism
from .gpu_selection import describe_nodes, label
from .model_requirements import ModelRequirements

_SMALLEST_SHORTFALL_BYTES = 10**8
"""A smaller shortfall would be printed as 0.0 GB."""


def explain_shortage(candidate: Candidate) -> str:
    """Why a candidate does not fit, with the bytes that its GPU lacks, as part of a sentence."""
    requirements, gpu = candidate.requirements, candidate.gpu
    share, budget = requirements.gpu_memory_utilization, candidate.budget_bytes
    if share is not None and budget > candidate.usable_bytes:
        return msg(
            "--gpu-memory-utilization {share} takes {budget} of {card}, where {memory_free} are free{held}",
            share=f"{share:g}",
            budget=gigabytes(budget),
            card=label(gpu),
            memory_free=gigabytes(gpu.memory_free_bytes),
            held=_memory_holders(gpu),
        )
    return msg(
        "each needs {weights} for weights, {overhead} for activations and CUDA graphs and {kv_cache} for {shortest} "
        "tokens of KV cache, and {card} offers {budget}: {shortfall} short{held}",
        weights=gigabytes(candidate.weights_bytes),
        overhead=gigabytes(candidate.overhead_bytes),
        kv_cache=gigabytes(candidate.min_kv_cache_bytes),
        shortest=requirements.min_max_len,
        card=label(gpu),
        budget=gigabytes(budget),
        shortfall=gigabytes(max(candidate.shortfall_bytes, _SMALLEST_SHORTFALL_BYTES)),
        held=_memory_holders(gpu),
    )


def _memory_holders(gpu: Gpu) -> str:
    """The processes that hold memory of this GPU, as the end of a sentence."""
    if not gpu.processes:
        return ""
    return msg(" ({processes})", processes=joined(", ", map(_describe_process, gpu.processes[:3])))


def _describe_process(process: GpuProcess) -> str:
    who = f"{process.name} ({process.pid})" if process.name else msg("a process ({pid})", pid=process.pid)
    return (
        msg("{who} holds {size}", who=who, size=gigabytes(process.memory_bytes))
        if process.memory_bytes
        else msg("{who} holds memory", who=who)
    )


def fit_error(
    requirements: ModelRequirements,
    footprint: MemoryFootprint,
    groups: Sequence[Sequence[Gpu]],
    nearest: Candidate | None,
) -> DoesNotFit:
    """The error for a model that no split holds; `nearest` is the candidate with the smallest shortfall, if any."""
    largest = max(groups, key=lambda group: len(group) * group[0].memory_total_bytes)
    available = describe_nodes(requirements.nodes, len(largest), largest[0].name)
    gpu_count = len(largest) * requirements.nodes
    if wrong := _invalid_parallel_size(requirements, footprint) or _too_few_gpus(
        requirements, footprint, gpu_count, available
    ):
        return wrong
    uneven = uneven_error(requirements, Parallelism.requested(requirements))
    if uneven and requirements.pipeline_parallel_size not in (None, 1):
        return uneven
    if (requirements.replicas or 1) > 1:
        return DoesNotFit(
            msg(
                "{title} does not fit {replicas} times on {here}.",
                title=requirements.title,
                replicas=requirements.replicas,
                here=available,
            )
        )
    if nearest is not None:
        shortage = joined(": ", (nearest.title, explain_shortage(nearest)))
        return DoesNotFit(
            msg("{title} does not fit. The nearest: {nearest}.", title=requirements.title, nearest=shortage),
            short=shortage,
        )
    total = gpu_count * largest[0].memory_total_bytes
    if total < requirements.total_gpu_memory_bytes:
        needed = gigabytes(requirements.total_gpu_memory_bytes)
        return DoesNotFit(
            pluralized(
                gpu_count,
                "{title} needs {needed} of GPU memory on cards of one kind; {here} has {size}.",
                "{title} needs {needed} of GPU memory on cards of one kind; {here} have {size}.",
                title=requirements.title,
                needed=needed,
                here=available,
                size=gigabytes(total),
            )
        )
    return DoesNotFit(
        msg(
            "{title} cannot be split over {here} as asked: tensor-parallel degrees that work are {degrees}.",
            title=requirements.title,
            here=available,
            degrees=_tensor_parallel_sizes(footprint, len(largest)),
        ),
        "Across nodes, --pipeline-parallel-size 1 shares each layer between them." if requirements.nodes > 1 else "",
    )


def uneven_error(requirements: ModelRequirements, parallelism: Parallelism) -> DoesNotFit | None:
    """The error for a split whose parts cannot have the same size on all nodes; None if they can."""
    if parallelism.is_even(requirements.nodes):
        return None
    parts = msg(
        "{tensor} tensor x {pipeline} pipeline parallel",
        tensor=parallelism.tensor,
        pipeline=parallelism.pipeline,
    )
    return DoesNotFit(
        msg("{number} nodes cannot share {parts} evenly.", number=requirements.nodes, parts=parts),
        msg("Leave --pipeline-parallel-size out, or give a multiple of {number}.", number=requirements.nodes),
    )


def _invalid_parallel_size(requirements: ModelRequirements, footprint: MemoryFootprint) -> DoesNotFit | None:
    """The error for a parallel size of the user's that the model does not allow on any GPUs."""
    tensor, stages, layers = (
        requirements.tensor_parallel_size,
        requirements.pipeline_parallel_size or 1,
        footprint.shape.layers,
    )
    if tensor and (why := footprint.why_not_divisible(tensor)):
        return DoesNotFit(
            msg(
                "{title} cannot be split with --tensor-parallel-size {tensor}: {reason}.",
                title=requirements.title,
                tensor=tensor,
                reason=why,
            ),
            msg("Degrees that work: {degrees}.", degrees=_tensor_parallel_sizes(footprint, max(tensor, 8))),
        )
    if stages > max(1, layers):
        return DoesNotFit(
            msg(
                "{title} has {layers} layers, too few for --pipeline-parallel-size {stages}.",
                title=requirements.title,
                layers=layers,
                stages=stages,
            )
        )
    return None


def _too_few_gpus(
    requirements: ModelRequirements, footprint: MemoryFootprint, gpu_count: int, available: str
) -> DoesNotFit | None:
    requested = {
        "--tensor-parallel-size": requirements.tensor_parallel_size or 1,
        "--pipeline-parallel-size": requirements.pipeline_parallel_size or 1,
        "--replicas": requirements.replicas or 1,
    }
    required = math.prod(requested.values())
    if required <= gpu_count:
        return None
    flags = " with ".join(f"{flag} {size}" for flag, size in requested.items() if size > 1)
    return DoesNotFit(
        pluralized(
            gpu_count,
            "{flags} needs {cards} of one kind, and there is {here}.",
            "{flags} needs {cards} of one kind, and there are {here}.",
            flags=flags,
            cards=pluralized(required, "{number} card", "{number} cards"),
            here=available,
        ),
        msg("Tensor-parallel degrees that work: {degrees}.", degrees=_tensor_parallel_sizes(footprint, gpu_count)),
    )


def _tensor_parallel_sizes(footprint: MemoryFootprint, gpu_count: int) -> str:
    return ", ".join(map(str, footprint.tensor_parallel_sizes(gpu_count)))
