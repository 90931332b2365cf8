"""Sentences that explain why a model does not fit. Pure."""

import math
from collections.abc import Sequence

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu, GpuProcess
from ..models.memory_footprint import MemoryFootprint
from ..text_format import gigabytes, pluralize
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
        return (
            f"--gpu-memory-utilization {share:g} takes {gigabytes(budget)} of {label(gpu)}, where "
            f"{gigabytes(gpu.memory_free_bytes)} are free{_memory_holders(gpu)}"
        )
    return (
        f"each needs {gigabytes(candidate.weights_bytes)} for weights, {gigabytes(candidate.overhead_bytes)} for "
        f"activations and CUDA graphs and {gigabytes(candidate.min_kv_cache_bytes)} for {requirements.min_max_len} "
        f"tokens of KV cache, and {label(gpu)} offers {gigabytes(budget)}: "
        f"{gigabytes(max(candidate.shortfall_bytes, _SMALLEST_SHORTFALL_BYTES))} short{_memory_holders(gpu)}"
    )


def _memory_holders(gpu: Gpu) -> str:
    """The processes that hold memory of this GPU, as the end of a sentence."""
    if not gpu.processes:
        return ""
    return f" ({', '.join(map(_describe_process, gpu.processes[:3]))})"


def _describe_process(process: GpuProcess) -> str:
    who = f"{process.name} ({process.pid})" if process.name else f"a process ({process.pid})"
    return f"{who} holds {gigabytes(process.memory_bytes)}" if process.memory_bytes else f"{who} holds memory"


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
        return DoesNotFit(f"{requirements.title} does not fit {requirements.replicas} times on {available}.")
    if nearest is not None:
        shortage = f"{nearest.title}: {explain_shortage(nearest)}"
        return DoesNotFit(f"{requirements.title} does not fit. The nearest: {shortage}.", short=shortage)
    total = gpu_count * largest[0].memory_total_bytes
    if total < requirements.total_gpu_memory_bytes:
        needed = gigabytes(requirements.total_gpu_memory_bytes)
        return DoesNotFit(
            f"{requirements.title} needs {needed} of GPU memory on cards of one kind; {available} have "
            f"{gigabytes(total)}."
        )
    return DoesNotFit(
        f"{requirements.title} cannot be split over {available} as asked: "
        f"tensor-parallel degrees that work are {_tensor_parallel_sizes(footprint, len(largest))}.",
        "Across nodes, --pipeline-parallel-size 1 shares each layer between them." if requirements.nodes > 1 else "",
    )


def uneven_error(requirements: ModelRequirements, parallelism: Parallelism) -> DoesNotFit | None:
    """The error for a split of which the nodes cannot each hold a part of the same size; None if they can."""
    if parallelism.is_even(requirements.nodes):
        return None
    parts = f"{parallelism.tensor} tensor x {parallelism.pipeline} pipeline parallel"
    return DoesNotFit(
        f"{requirements.nodes} nodes cannot share {parts} evenly.",
        f"Leave --pipeline-parallel-size out, or give a multiple of {requirements.nodes}.",
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
            f"{requirements.title} cannot be split with --tensor-parallel-size {tensor}: {why}.",
            f"Degrees that work: {_tensor_parallel_sizes(footprint, max(tensor, 8))}.",
        )
    if stages > max(1, layers):
        return DoesNotFit(f"{requirements.title} has {layers} layers, too few for --pipeline-parallel-size {stages}.")
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
        f"{flags} needs {pluralize(required, 'card')} of one kind, and there are {available}.",
        f"Tensor-parallel degrees that work: {_tensor_parallel_sizes(footprint, gpu_count)}.",
    )


def _tensor_parallel_sizes(footprint: MemoryFootprint, gpu_count: int) -> str:
    return ", ".join(map(str, footprint.tensor_parallel_sizes(gpu_count)))
