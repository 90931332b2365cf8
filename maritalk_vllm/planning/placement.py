"""Find the smallest split of a model over GPUs that holds its whole context, else the longest. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu
from ..hardware.interconnect import Links
from ..models.memory_footprint import MemoryFootprint
from ..text_format import gigabytes, pluralize
from .fit_errors import explain_shortage, fit_error
from .gpu_selection import best_connected, group_identical
from .longest_context import longest_context
from .memory_estimate import Parallelism, batch, batch_with, budget_bytes, overhead_bytes, usable_bytes, utilization
from .model_requirements import ModelRequirements
from .multi_node import check_even, describe_nodes, even_splits


@dataclass(frozen=True, slots=True)
class Placement:
    """The GPUs chosen for a model, grouped by replica.

    `kv_cache_bytes` is per GPU. With several `nodes`, `gpus` are those of one node. `context` is the longest request
    that a replica holds, in tokens, and at most the planned length; 0 if the size of the model is unknown.
    `considered` explains, one sentence each, why other splits were not chosen.
    """

    parallelism: Parallelism
    gpus: tuple[Gpu, ...]
    gpu_memory_utilization: float
    kv_cache_bytes: int
    context: int = 0
    nodes: int = 1
    considered: tuple[str, ...] = ()

    @property
    def gpu_count(self) -> int:
        """Number of GPUs on all nodes."""
        return len(self.gpus) * self.nodes

    @property
    def replicas(self) -> int:
        """Number of replicas of the model."""
        return self.gpu_count // self.parallelism.gpu_count


@dataclass(slots=True)
class _Search:
    requirements: ModelRequirements
    footprint: MemoryFootprint
    links: Links
    considered: list[tuple[Parallelism, str]] = field(default_factory=list)
    nearest: tuple[int, str] | None = None
    """The split that came closest to fitting: the bytes that it lacks, and the sentence that describes it."""


def find_placement(
    requirements: ModelRequirements, footprint: MemoryFootprint, gpus: Sequence[Gpu], links: Links
) -> Placement:
    """Return the first candidate that holds the whole context, or else the one that holds the longest context.

    Raises DoesNotFit, with what was short, if no candidate holds the minimum context.
    """
    search = _Search(requirements, footprint, links)
    groups = group_identical(gpus)
    max_gpus = max(map(len, groups))
    best: Placement | None = None
    for parallelism in candidates(requirements, footprint, max_gpus):
        fits = [fit for group in groups if (fit := _fit(search, parallelism, group)) is not None]
        if not fits:
            continue
        found = max(fits, key=lambda fit: (fit.context, fit.kv_cache_bytes))
        if best is None or found.context > best.context:
            best = found
        if found.context == requirements.planned_max_len:
            break
        what = _describe(requirements, parallelism, found.gpus[0])
        search.considered.append(
            (parallelism, f"{what}: it holds {found.context} of {requirements.planned_max_len} tokens")
        )
    if best is None:
        raise fit_error(requirements, footprint, groups, search.nearest[1] if search.nearest else None)
    others = (text for parallelism, text in search.considered if parallelism != best.parallelism)
    return replace(best, considered=(*others, *_indivisible(requirements, footprint, best, max_gpus)))


def _indivisible(
    requirements: ModelRequirements, footprint: MemoryFootprint, chosen: Placement, max_gpus: int
) -> Iterator[str]:
    """Yield the tensor-parallel sizes that were skipped because the model is not divisible by them."""
    if requirements.nodes > 1:
        max_gpus = chosen.parallelism.gpu_count // requirements.nodes
    if requirements.tensor_parallel_size is None:
        largest = max_gpus if chosen.parallelism.pipeline > 1 else chosen.parallelism.tensor
        for size in range(2, largest + 1):
            if why := footprint.why_not_divisible(size):
                yield f"{size} cards, tensor parallel: {why}"


def place_unchecked(requirements: ModelRequirements, gpus: Sequence[Gpu], links: Links) -> Placement:
    """Choose GPUs for a model of unknown size: as many as the user asked for, else one. Raises DoesNotFit."""
    parallelism = Parallelism(
        requirements.tensor_parallel_size or 1, requirements.pipeline_parallel_size or requirements.nodes
    )
    check_even(requirements, parallelism)
    count = parallelism.gpu_count * (requirements.replicas or 1) // requirements.nodes
    groups = [group for group in group_identical(gpus) if len(group) >= count]
    if not groups:
        raise DoesNotFit(
            f"{pluralize(count, 'card')} of one kind are needed, and {pluralize(len(gpus), 'card')} are here."
        )
    chosen = max(
        (best_connected(group, count, links) for group in groups), key=lambda group: group[-1].memory_free_bytes
    )
    share = min(utilization(gpu, requirements.gpu_memory_utilization) for gpu in chosen)
    return Placement(parallelism, tuple(chosen), share, 0, nodes=requirements.nodes)


def candidates(requirements: ModelRequirements, footprint: MemoryFootprint, gpu_count: int) -> Iterator[Parallelism]:
    """Return, in order of preference, every split over up to `gpu_count` GPUs per node that model and user allow.

    On one node, tensor parallelism alone and fewer GPUs are preferred; for several nodes see `multi_node.even_splits`.
    """
    tensor = footprint.tensor_parallel_sizes(gpu_count * requirements.nodes)
    if requirements.tensor_parallel_size is not None:
        tensor = [size for size in tensor if size == requirements.tensor_parallel_size]
    layers = footprint.shape.layers
    if requirements.nodes > 1:
        return iter(even_splits(requirements, tensor, gpu_count, layers))
    pipeline = (
        [requirements.pipeline_parallel_size]
        if requirements.pipeline_parallel_size
        else range(1, min(gpu_count, layers or 1) + 1)
    )
    found = [Parallelism(tp, stages) for tp in tensor for stages in pipeline if tp * stages <= gpu_count]
    return iter(sorted(found, key=lambda split: (split.pipeline > 1, split.gpu_count, split.pipeline)))


def _fit(search: _Search, parallelism: Parallelism, group: Sequence[Gpu]) -> Placement | None:
    """Try this split on a group of identical GPUs. If it does not fit, record why in `search` and return None."""
    requirements, footprint = search.requirements, search.footprint
    gpus_per_node = parallelism.gpu_count // requirements.nodes
    required = gpus_per_node * (requirements.replicas or 1)
    what = _describe(requirements, parallelism, group[0])
    total = parallelism.gpu_count * group[0].memory_total_bytes
    if total < requirements.total_gpu_memory_bytes:
        if gpus_per_node <= len(group):
            needed = gigabytes(requirements.total_gpu_memory_bytes)
            search.considered.append((parallelism, f"{what}: {gigabytes(total)} of GPU memory, {needed} are needed"))
        return None
    available_bytes = {gpu.uuid: kv_cache_bytes(requirements, footprint, parallelism, gpu) for gpu in group}

    def gpus_with_room(tokens: int) -> list[Gpu]:
        min_kv_bytes = request_bytes(requirements, footprint, parallelism, group[0], tokens)
        return [gpu for gpu in group if available_bytes[gpu.uuid] >= min_kv_bytes]

    usable = gpus_with_room(requirements.min_max_len)
    if len(usable) < required:
        if required <= len(group):
            min_kv_bytes = request_bytes(requirements, footprint, parallelism, group[0], requirements.min_max_len)
            closest = max((gpu for gpu in group if gpu not in usable), key=lambda gpu: available_bytes[gpu.uuid])
            missing_bytes = min_kv_bytes - available_bytes[closest.uuid]
            why = explain_shortage(requirements, footprint, parallelism, closest, min_kv_bytes, missing_bytes)
            shortage = f"{what}: {why}"
            search.considered.append((parallelism, shortage))
            if search.nearest is None or missing_bytes < search.nearest[0]:
                search.nearest = missing_bytes, shortage
        return None
    with_full_context = gpus_with_room(requirements.planned_max_len)
    if len(with_full_context) >= required:
        usable = with_full_context
    replicas = requirements.replicas or len(usable) // gpus_per_node
    if usable is not with_full_context:
        # The GPUs with most free memory, regardless of their links: the fullest of them limits the context.
        usable = sorted(usable, key=lambda gpu: -available_bytes[gpu.uuid])[: gpus_per_node * replicas]
    chosen: list[Gpu] = []
    for _ in range(replicas):
        chosen += best_connected([gpu for gpu in usable if gpu not in chosen], gpus_per_node, search.links)
    cache = min(available_bytes[gpu.uuid] for gpu in chosen)
    return Placement(
        parallelism,
        tuple(chosen),
        min(utilization(gpu, requirements.gpu_memory_utilization) for gpu in chosen),
        cache,
        longest_context(
            requirements.planned_max_len,
            requirements.min_max_len,
            cache,
            lambda tokens: request_bytes(requirements, footprint, parallelism, group[0], tokens),
        ),
        requirements.nodes,
    )


def _describe(requirements: ModelRequirements, parallelism: Parallelism, gpu: Gpu) -> str:
    """For example `2 x NVIDIA A10 (1 tensor x 2 pipeline parallel)`."""
    per_node = parallelism.gpu_count // requirements.nodes
    return f"{describe_nodes(requirements.nodes, per_node, gpu.name)}{parallelism.text}"


def kv_cache_bytes(
    requirements: ModelRequirements, footprint: MemoryFootprint, parallelism: Parallelism, gpu: Gpu
) -> int:
    """Bytes that remain for the KV cache on this GPU; negative if it cannot even hold the weights."""
    budget = budget_bytes(gpu, requirements.gpu_memory_utilization)
    if budget > usable_bytes(gpu):  # the user's own share, which vLLM would reject
        return usable_bytes(gpu) - budget
    weights = footprint.weights_bytes_per_gpu(parallelism.tensor, parallelism.pipeline)
    return budget - weights - overhead_bytes(footprint, parallelism, gpu, requirements.flags)


def request_bytes(
    requirements: ModelRequirements, footprint: MemoryFootprint, parallelism: Parallelism, gpu: Gpu, tokens: int
) -> int:
    """KV cache bytes that one request of `tokens` tokens takes on each GPU."""
    return footprint.shape.kv_cache_bytes(
        tokens,
        tensor_parallel_size=parallelism.tensor,
        pipeline_parallel_size=parallelism.pipeline,
        in_flight=batch_with(requirements.flags, batch(gpu)).tokens,
        dtype=requirements.flags.cache_dtype or footprint.shape.dtype,
    )
