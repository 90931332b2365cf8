"""Find the smallest split of a model over GPUs that holds its whole context, else a long one. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu
from ..hardware.interconnect import Links
from ..i18n.message import joined, msg, pluralized
from ..models.memory_footprint import MemoryFootprint
from ..text_format import gigabytes
from .candidate import Candidate, Parallelism, assess, usable_bytes, utilization
from .fit_errors import explain_shortage, uneven_error
from .gpu_selection import best_connected, group_identical, has_nvlink
from .model_requirements import ModelRequirements

# A pipeline answers one user more slowly, and often holds a little more, since it has no memory for all-reduces: it is
# taken for the whole context, or for more than this times a shortened one.
_WORTH_MORE_STAGES = 2


@dataclass(frozen=True, slots=True)
class Placement:
    """The GPUs chosen for a model, grouped by replica. With several `nodes`, `gpus` are those of one node.

    `fullest` is the candidate on the chosen GPU that has least memory for the KV cache, and `context` the longest
    request that it holds, in tokens, up to the planned length; None and 0 if the size of the model is unknown.
    `longest` is false if more pipeline stages would hold more, though not the whole context. `considered` explains, one
    sentence each, why other splits were not chosen.
    """

    parallelism: Parallelism
    gpus: tuple[Gpu, ...]
    nodes: int
    gpu_memory_utilization: float
    fullest: Candidate | None = None
    context: int = 0
    longest: bool = True
    considered: tuple[str, ...] = ()

    @property
    def replicas(self) -> int:
        """Number of replicas of the model."""
        return len(self.gpus) * self.nodes // self.parallelism.gpu_count

    @property
    def capacity(self) -> tuple[int, int]:
        """The context, and the bytes of KV cache on each GPU, by which placements are compared."""
        return self.context, self.fullest.kv_cache_bytes if self.fullest else 0


@dataclass(frozen=True, slots=True)
class NoPlacement:
    """No split holds the model. `groups` are the GPUs by kind; `nearest` is the candidate with the smallest shortfall.

    `nearest` is None if there are too few GPUs, or GPUs with too little memory in all, for every split.
    """

    groups: Sequence[Sequence[Gpu]]
    nearest: Candidate | None


@dataclass(slots=True)
class _Search:
    """Why each split was rejected so far, and the rejected candidate with the smallest shortfall."""

    considered: list[tuple[Parallelism, str]] = field(default_factory=list)
    nearest: Candidate | None = None

    def place(self, candidates: Sequence[Candidate], links: Links) -> Placement | None:
        """Place a split on identical GPUs, with a candidate for each. If it does not fit, record why."""
        requirements, parallelism = candidates[0].requirements, candidates[0].parallelism
        per_replica = parallelism.gpu_count // requirements.nodes
        required = per_replica * (requirements.replicas or 1)
        total = parallelism.gpu_count * candidates[0].gpu.memory_total_bytes
        if total < requirements.total_gpu_memory_bytes:
            if per_replica <= len(candidates):
                needed = gigabytes(requirements.total_gpu_memory_bytes)
                text = msg(
                    "{what}: {total} of GPU memory, {needed} are needed",
                    what=candidates[0].title,
                    total=gigabytes(total),
                    needed=needed,
                )
                self.considered.append((parallelism, text))
            return None
        if len(candidates) < required:
            return None
        fitting = [candidate for candidate in candidates if candidate.fits]
        if len(fitting) >= required:
            return _choose_gpus(fitting, per_replica, links)
        closest = min((each for each in candidates if not each.fits), key=lambda each: each.shortfall_bytes)
        self.considered.append((parallelism, joined(": ", (closest.title, explain_shortage(closest)))))
        if self.nearest is None or closest.shortfall_bytes < self.nearest.shortfall_bytes:
            self.nearest = closest
        return None


def find_placement(
    requirements: ModelRequirements, footprint: MemoryFootprint, gpus: Sequence[Gpu], links: Links
) -> Placement | NoPlacement:
    """Return the placement of the first split that holds the whole context, or else of that which holds the longest.

    A longer one with more stages is passed over unless it holds more than `_WORTH_MORE_STAGES` times as much. Returns
    NoPlacement if no split holds the minimum context.
    """
    search = _Search()
    best: Placement | None = None
    groups = group_identical(gpus)
    linked = [has_nvlink(group, links) for group in groups]
    max_gpus = max(map(len, groups))
    for parallelism in splits(requirements, footprint, max_gpus):
        placements = []
        for group, nvlink in zip(groups, linked, strict=True):
            candidates = [assess(requirements, footprint, parallelism, gpu, nvlink=nvlink) for gpu in group]
            if placement := search.place(candidates, links):
                placements.append(placement)
        if not placements:
            continue
        found = max(placements, key=lambda placement: placement.capacity)
        if found.context == requirements.planned_max_len:
            best = found
            break
        if best is None or found.context > best.context * _more_needed(best.parallelism, parallelism):
            best = found
        elif found.context > best.context:
            best = replace(best, longest=False)
        title = parallelism.describe(found.gpus[0].name, requirements.nodes)
        text = msg(
            "{what}: it holds {context} of {planned} tokens",
            what=title,
            context=found.context,
            planned=requirements.planned_max_len,
        )
        search.considered.append((parallelism, text))
    if best is None:
        return NoPlacement(groups, search.nearest)
    others = (text for parallelism, text in search.considered if parallelism != best.parallelism)
    return replace(best, considered=(*others, *_indivisible(requirements, footprint, best, max_gpus)))


def _more_needed(fewer: Parallelism, more: Parallelism) -> int:
    """How many times the context of `fewer` the later split `more` has to hold to replace it."""
    return _WORTH_MORE_STAGES if more.pipeline > fewer.pipeline else 1


def _choose_gpus(candidates: Sequence[Candidate], per_replica: int, links: Links) -> Placement:
    """Choose the GPUs of each replica; the split fits on all of them."""
    requirements, parallelism = candidates[0].requirements, candidates[0].parallelism
    whole_context = candidates[0].request_bytes(requirements.planned_max_len)
    usable = [candidate for candidate in candidates if candidate.kv_cache_bytes >= whole_context]
    if len(usable) >= per_replica * (requirements.replicas or 1):
        replicas = requirements.replicas or len(usable) // per_replica
    else:
        replicas = requirements.replicas or len(candidates) // per_replica
        # The GPUs with most free memory, regardless of their links: the fullest of them limits the context.
        usable = sorted(candidates, key=lambda candidate: -candidate.kv_cache_bytes)[: per_replica * replicas]
    chosen: list[Gpu] = []
    for _ in range(replicas):
        rest = [candidate.gpu for candidate in usable if candidate.gpu not in chosen]
        chosen += best_connected(rest, per_replica, links)
    by_gpu = {candidate.gpu.uuid: candidate for candidate in usable}
    fullest = min((by_gpu[gpu.uuid] for gpu in chosen), key=lambda candidate: candidate.kv_cache_bytes)
    return Placement(
        parallelism,
        tuple(chosen),
        requirements.nodes,
        fullest.gpu_memory_utilization,
        fullest,
        requirements.longest_context(fullest.kv_cache_bytes, fullest.request_bytes),
    )


def place_unchecked(
    requirements: ModelRequirements, gpus: Sequence[Gpu], links: Links, parallelism: Parallelism | None = None
) -> Placement:
    """Choose GPUs for a split whose memory is unknown. Raises DoesNotFit.

    Without `parallelism` it is the one that the user asked for, and one GPU if none was.
    """
    parallelism = parallelism or Parallelism.requested(requirements)
    if error := uneven_error(requirements, parallelism):
        raise error
    count = parallelism.gpu_count * (requirements.replicas or 1) // requirements.nodes
    groups = [group for group in group_identical(gpus) if len(group) >= count]
    if not groups:
        raise DoesNotFit(
            pluralized(
                len(gpus),
                "{cards} of one kind are needed, and {number} card is here.",
                "{cards} of one kind are needed, and {number} cards are here.",
                cards=pluralized(count, "{number} card", "{number} cards"),
            )
        )
    chosen = max(
        (best_connected(group, count, links) for group in groups), key=lambda group: group[-1].memory_free_bytes
    )
    nvlink = has_nvlink(chosen, links)
    usable = ((gpu, usable_bytes(gpu, parallelism.tensor, nvlink=nvlink)) for gpu in chosen)
    share = min(utilization(gpu, size, requirements.gpu_memory_utilization) for gpu, size in usable)
    return Placement(parallelism, tuple(chosen), requirements.nodes, share)


def splits(requirements: ModelRequirements, footprint: MemoryFootprint, gpu_count: int) -> list[Parallelism]:
    """Return, in order of preference, every split over up to `gpu_count` GPUs per node that model and user allow.

    On one node, tensor parallelism alone and fewer GPUs are preferred. Several nodes hold parts of the same size:
    tensor parallelism stays within a node, as wide as the model allows, and the layers are spread over the nodes,
    unless the user asks otherwise. A shared layer waits for its slowest link twice, a pipeline stage only once.
    """
    nodes, max_stages = requirements.nodes, max(1, footprint.shape.layers)
    max_gpus = nodes * gpu_count
    tensor = footprint.tensor_parallel_sizes(max_gpus)
    if requirements.tensor_parallel_size is not None:
        tensor = [size for size in tensor if size == requirements.tensor_parallel_size]
    pipeline: Sequence[int] = range(nodes, min(max_gpus, max_stages) + 1, nodes)
    if requirements.pipeline_parallel_size:
        pipeline = [requirements.pipeline_parallel_size]
    found = [Parallelism(tp, stages) for tp in tensor for stages in pipeline if tp * stages <= max_gpus]
    if nodes == 1:
        return sorted(found, key=lambda split: (split.pipeline > 1, split.gpu_count, split.pipeline))
    even = [split for split in found if split.is_even(nodes) and split.pipeline <= max_stages]
    return sorted(even, key=lambda split: (split.pipeline, -split.tensor))


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
                yield msg("{number} cards, tensor parallel: {why}", number=size, why=why)
