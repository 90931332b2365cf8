"""Why a model does not fit, in sentences. Pure."""

import math
from collections.abc import Sequence

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu, GpuProcess
from ..models.memory_footprint import MemoryFootprint
from ..text_format import gigabytes, pluralize
from .gpu_selection import label
from .memory_estimate import Parallelism, budget_bytes, overhead_bytes, usable_bytes
from .model_requirements import ModelRequirements
from .multi_node import check_even, described


def what_a_card_lacks(
    need: ModelRequirements, footprint: MemoryFootprint, degrees: Parallelism, gpu: Gpu, least: int, short: int
) -> str:
    """Why this card does not hold its share: `least` bytes of KV cache are needed, and `short` bytes are missing."""
    share = need.gpu_memory_utilization
    budget = budget_bytes(gpu, share)
    if share is not None and budget > usable_bytes(gpu):
        return (
            f"--gpu-memory-utilization {share:g} takes {gigabytes(budget)} of {label(gpu)}, where "
            f"{gigabytes(gpu.memory_free_bytes)} are free{_held(gpu)}"
        )
    weights = footprint.weights_on_a_card(degrees.tensor, degrees.pipeline)
    overhead = overhead_bytes(footprint, degrees, gpu, need.flags)
    return (
        f"each needs {gigabytes(weights)} for weights, {gigabytes(overhead)} for "
        f"activations and CUDA graphs and {gigabytes(least)} for {need.shortest} tokens of KV cache, and "
        f"{label(gpu)} offers {gigabytes(budget)}: {gigabytes(max(short, 10**8))} short{_held(gpu)}"
    )


def _held(gpu: Gpu) -> str:
    """Who holds memory of a card, as the end of a sentence."""
    if not gpu.holders:
        return ""
    return f" ({', '.join(map(_holds, gpu.holders[:3]))})"


def _holds(holder: GpuProcess) -> str:
    who = f"{holder.name} ({holder.pid})" if holder.name else f"a process ({holder.pid})"
    return f"{who} holds {gigabytes(holder.memory_bytes)}" if holder.memory_bytes else f"{who} holds memory"


def refusal(
    need: ModelRequirements, footprint: MemoryFootprint, groups: Sequence[Sequence[Gpu]], nearest: str | None
) -> DoesNotFit:
    """What was short; `nearest` describes the split that lacked least."""
    largest = max(groups, key=lambda group: len(group) * group[0].memory_total_bytes)
    here = described(need.nodes, len(largest), largest[0].name)
    cards = len(largest) * need.nodes
    if wrong := _wrong_degree(need, footprint) or _too_few_cards(need, footprint, cards, here):
        return wrong
    if uneven := _uneven(need):
        return uneven
    if (need.replicas or 1) > 1:
        return DoesNotFit(f"{need.title} does not fit {need.replicas} times on {here}.")
    if nearest:
        return DoesNotFit(f"{need.title} does not fit. The nearest: {nearest}.", short=nearest)
    total = cards * largest[0].memory_total_bytes
    if total < need.total_gpu_memory_bytes:
        needed = gigabytes(need.total_gpu_memory_bytes)
        return DoesNotFit(
            f"{need.title} needs {needed} of GPU memory on cards of one kind; {here} have {gigabytes(total)}."
        )
    return DoesNotFit(
        f"{need.title} cannot be split over {here} as asked: "
        f"tensor-parallel degrees that work are {_degrees(footprint, len(largest))}.",
        "Across nodes, --pipeline-parallel-size 1 shares each layer between them." if need.nodes > 1 else "",
    )


def _uneven(need: ModelRequirements) -> DoesNotFit | None:
    """The user's own stages, which the nodes cannot share."""
    try:
        check_even(need, Parallelism(need.tensor_parallel_size or 1, need.pipeline_parallel_size or need.nodes))
    except DoesNotFit as error:
        return error if need.pipeline_parallel_size not in (None, 1) else None
    return None


def _wrong_degree(need: ModelRequirements, footprint: MemoryFootprint) -> DoesNotFit | None:
    """The user's own degree, which this model does not allow on any cards."""
    tensor, stages, layers = need.tensor_parallel_size, need.pipeline_parallel_size or 1, footprint.shape.layers
    if tensor and (why := footprint.splits_by(tensor)):
        return DoesNotFit(
            f"{need.title} cannot be split with --tensor-parallel-size {tensor}: {why}.",
            f"Degrees that work: {_degrees(footprint, max(tensor, 8))}.",
        )
    if stages > max(1, layers):
        return DoesNotFit(f"{need.title} has {layers} layers, too few for --pipeline-parallel-size {stages}.")
    return None


def _too_few_cards(need: ModelRequirements, footprint: MemoryFootprint, cards: int, here: str) -> DoesNotFit | None:
    asked = {
        "--tensor-parallel-size": need.tensor_parallel_size or 1,
        "--pipeline-parallel-size": need.pipeline_parallel_size or 1,
        "--replicas": need.replicas or 1,
    }
    wanted = math.prod(asked.values())
    if wanted <= cards:
        return None
    flags = " with ".join(f"{flag} {size}" for flag, size in asked.items() if size > 1)
    return DoesNotFit(
        f"{flags} needs {pluralize(wanted, 'card')} of one kind, and there are {here}.",
        f"Tensor-parallel degrees that work: {_degrees(footprint, cards)}.",
    )


def _degrees(footprint: MemoryFootprint, cards: int) -> str:
    return ", ".join(map(str, footprint.degrees(cards)))
