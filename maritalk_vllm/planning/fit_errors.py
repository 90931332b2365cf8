"""Sentences that explain why a model does not fit. Pure."""

import math
from collections.abc import Sequence

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu, GpuProcess
from ..models.memory_footprint import MemoryFootprint
from ..text_format import gigabytes, pluralize
from .gpu_selection import label
from .memory_estimate import Parallelism, budget_bytes, overhead_bytes, usable_bytes
from .model_requirements import ModelRequirements
from .multi_node import check_even, describe_nodes


def explain_shortage(
    requirements: ModelRequirements,
    footprint: MemoryFootprint,
    parallelism: Parallelism,
    gpu: Gpu,
    min_kv_bytes: int,
    missing_bytes: int,
) -> str:
    """Why this GPU cannot hold its share: it needs `min_kv_bytes` of KV cache and lacks `missing_bytes`."""
    share = requirements.gpu_memory_utilization
    budget = budget_bytes(gpu, share)
    if share is not None and budget > usable_bytes(gpu):
        return (
            f"--gpu-memory-utilization {share:g} takes {gigabytes(budget)} of {label(gpu)}, where "
            f"{gigabytes(gpu.memory_free_bytes)} are free{_memory_holders(gpu)}"
        )
    weights = footprint.weights_bytes_per_gpu(parallelism.tensor, parallelism.pipeline)
    overhead = overhead_bytes(footprint, parallelism, gpu, requirements.flags)
    return (
        f"each needs {gigabytes(weights)} for weights, {gigabytes(overhead)} for "
        f"activations and CUDA graphs and {gigabytes(min_kv_bytes)} for {requirements.min_max_len} tokens of KV cache, "
        f"and {label(gpu)} offers {gigabytes(budget)}: {gigabytes(max(missing_bytes, 10**8))} "
        f"short{_memory_holders(gpu)}"
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
    requirements: ModelRequirements, footprint: MemoryFootprint, groups: Sequence[Sequence[Gpu]], nearest: str | None
) -> DoesNotFit:
    """The error for a model that no split holds; `nearest` describes the split that lacked least."""
    largest = max(groups, key=lambda group: len(group) * group[0].memory_total_bytes)
    available = describe_nodes(requirements.nodes, len(largest), largest[0].name)
    gpu_count = len(largest) * requirements.nodes
    if wrong := _invalid_parallel_size(requirements, footprint) or _too_few_gpus(
        requirements, footprint, gpu_count, available
    ):
        return wrong
    if uneven := _uneven_pipeline(requirements):
        return uneven
    if (requirements.replicas or 1) > 1:
        return DoesNotFit(f"{requirements.title} does not fit {requirements.replicas} times on {available}.")
    if nearest:
        return DoesNotFit(f"{requirements.title} does not fit. The nearest: {nearest}.", short=nearest)
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


def _uneven_pipeline(requirements: ModelRequirements) -> DoesNotFit | None:
    """The error for a pipeline size of the user's that the nodes cannot share evenly."""
    try:
        check_even(
            requirements,
            Parallelism(
                requirements.tensor_parallel_size or 1, requirements.pipeline_parallel_size or requirements.nodes
            ),
        )
    except DoesNotFit as error:
        return error if requirements.pipeline_parallel_size not in (None, 1) else None
    return None


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
