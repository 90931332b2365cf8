"""Finds the smallest split of a model over cards that holds its whole context, else the one that holds most. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu
from ..hardware.interconnect import Links
from ..models.memory_footprint import MemoryFootprint
from ..text_format import gigabytes, pluralize
from .fit_errors import refusal, what_a_card_lacks
from .gpu_selection import best_connected, group_identical
from .longest_context import longest_context
from .memory_estimate import Parallelism, batch, batch_with, budget_bytes, overhead_bytes, usable_bytes, utilization
from .model_requirements import ModelRequirements
from .multi_node import check_even, described, splits


@dataclass(frozen=True, slots=True)
class Placement:
    """Cards that hold the model, copy after copy, and why what is smaller does not. `kv_cache_bytes` on each card.

    With several `nodes`, `gpus` are those of one. `context` is the longest request that a copy holds, in tokens, at
    most what is aimed at; 0 where nothing is known of the model.
    """

    degrees: Parallelism
    gpus: tuple[Gpu, ...]
    gpu_memory_utilization: float
    kv_cache_bytes: int
    context: int = 0
    nodes: int = 1
    considered: tuple[str, ...] = ()

    @property
    def cards(self) -> int:
        """On all nodes."""
        return len(self.gpus) * self.nodes

    @property
    def replicas(self) -> int:
        """Copies of the model."""
        return self.cards // self.degrees.cards


@dataclass(slots=True)
class _Search:
    need: ModelRequirements
    footprint: MemoryFootprint
    links: Links
    considered: list[tuple[Parallelism, str]] = field(default_factory=list)
    nearest: tuple[int, str] | None = None
    """Of what was considered and does not fit, the bytes that are missing and the words, where these are fewest."""


def find_placement(need: ModelRequirements, footprint: MemoryFootprint, gpus: Sequence[Gpu], links: Links) -> Placement:
    """The first of the candidates that holds the whole context; if none does, the one that holds the longest.

    Raises DoesNotFit where none holds the least context: what was short.
    """
    search = _Search(need, footprint, links)
    groups = group_identical(gpus)
    most = max(map(len, groups))
    longest: Placement | None = None
    for degrees in candidates(need, footprint, most):
        fits = [fit for group in groups if (fit := _fit(search, degrees, group)) is not None]
        if not fits:
            continue
        found = max(fits, key=lambda fit: (fit.context, fit.kv_cache_bytes))
        if longest is None or found.context > longest.context:
            longest = found
        if found.context == need.aim:
            break
        what = f"{described(need.nodes, degrees.cards // need.nodes, found.gpus[0].name)}{degrees.text}"
        search.considered.append((degrees, f"{what}: it holds {found.context} of {need.aim} tokens"))
    if longest is None:
        raise refusal(need, footprint, groups, search.nearest[1] if search.nearest else None)
    others = (text for degrees, text in search.considered if degrees != longest.degrees)
    return replace(longest, considered=(*others, *_indivisible(need, footprint, longest, most)))


def _indivisible(need: ModelRequirements, footprint: MemoryFootprint, chosen: Placement, most: int) -> Iterator[str]:
    """The degrees that were passed over since the model does not divide by them."""
    if need.nodes > 1:
        most = chosen.degrees.cards // need.nodes
    if need.tensor_parallel_size is None:
        largest = most if chosen.degrees.pipeline > 1 else chosen.degrees.tensor
        for size in range(2, largest + 1):
            if why := footprint.splits_by(size):
                yield f"{size} cards, tensor parallel: {why}"


def find_cards(need: ModelRequirements, gpus: Sequence[Gpu], links: Links) -> Placement:
    """Cards for a model of which nothing is known: as many as the user says, else one. Raises DoesNotFit."""
    degrees = Parallelism(need.tensor_parallel_size or 1, need.pipeline_parallel_size or need.nodes)
    check_even(need, degrees)
    count = degrees.cards * (need.replicas or 1) // need.nodes
    groups = [group for group in group_identical(gpus) if len(group) >= count]
    if not groups:
        raise DoesNotFit(
            f"{pluralize(count, 'card')} of one kind are needed, and {pluralize(len(gpus), 'card')} are here."
        )
    chosen = max(
        (best_connected(group, count, links) for group in groups), key=lambda cards: cards[-1].memory_free_bytes
    )
    share = min(utilization(gpu, need.gpu_memory_utilization) for gpu in chosen)
    return Placement(degrees, tuple(chosen), share, 0, nodes=need.nodes)


def candidates(need: ModelRequirements, footprint: MemoryFootprint, cards: int) -> Iterator[Parallelism]:
    """Every split over up to `cards` cards, of each node, that model and user allow, the first to try first.

    On one machine tensor parallel alone comes first, and few cards; for several see `nodes.splits`.
    """
    tensor = footprint.degrees(cards * need.nodes)
    if need.tensor_parallel_size is not None:
        tensor = [size for size in tensor if size == need.tensor_parallel_size]
    layers = footprint.shape.layers
    if need.nodes > 1:
        return iter(splits(need, tensor, cards, layers))
    pipeline = [need.pipeline_parallel_size] if need.pipeline_parallel_size else range(1, min(cards, layers or 1) + 1)
    found = [Parallelism(tp, stages) for tp in tensor for stages in pipeline if tp * stages <= cards]
    return iter(sorted(found, key=lambda split: (split.pipeline > 1, split.cards, split.pipeline)))


def _fit(search: _Search, degrees: Parallelism, group: Sequence[Gpu]) -> Placement | None:
    """This split on cards of one kind; None, and why, if they do not hold it."""
    need, footprint = search.need, search.footprint
    here = degrees.cards // need.nodes
    wanted = here * (need.replicas or 1)
    what = f"{described(need.nodes, here, group[0].name)}{degrees.text}"
    total = degrees.cards * group[0].memory_total_bytes
    if total < need.total_gpu_memory_bytes:
        if here <= len(group):
            needed = gigabytes(need.total_gpu_memory_bytes)
            search.considered.append((degrees, f"{what}: {gigabytes(total)} of GPU memory, {needed} are needed"))
        return None
    room = {gpu.uuid: kv_cache_bytes(need, footprint, degrees, gpu) for gpu in group}

    def able(tokens: int) -> list[Gpu]:
        least = request_bytes(need, footprint, degrees, group[0], tokens)
        return [gpu for gpu in group if room[gpu.uuid] >= least]

    enough = able(need.shortest)
    if len(enough) < wanted:
        if wanted <= len(group):
            least = request_bytes(need, footprint, degrees, group[0], need.shortest)
            worst = max((gpu for gpu in group if gpu not in enough), key=lambda gpu: room[gpu.uuid])
            short = least - room[worst.uuid]
            lacks = f"{what}: {what_a_card_lacks(need, footprint, degrees, worst, least, short)}"
            search.considered.append((degrees, lacks))
            if search.nearest is None or short < search.nearest[0]:
                search.nearest = short, lacks
        return None
    whole = able(need.aim)
    if len(whole) >= wanted:
        enough = whole
    copies = need.replicas or len(enough) // here
    if enough is not whole:
        # Those with most room, whatever their links: the context is what the fullest of them holds.
        enough = sorted(enough, key=lambda gpu: -room[gpu.uuid])[: here * copies]
    chosen: list[Gpu] = []
    for _ in range(copies):
        chosen += best_connected([gpu for gpu in enough if gpu not in chosen], here, search.links)
    cache = min(room[gpu.uuid] for gpu in chosen)
    return Placement(
        degrees,
        tuple(chosen),
        min(utilization(gpu, need.gpu_memory_utilization) for gpu in chosen),
        cache,
        longest_context(
            need.aim,
            need.shortest,
            cache,
            lambda tokens: request_bytes(need, footprint, degrees, group[0], tokens),
        ),
        need.nodes,
    )


def kv_cache_bytes(need: ModelRequirements, footprint: MemoryFootprint, degrees: Parallelism, gpu: Gpu) -> int:
    """What a card has left for KV cache; negative if it does not even hold the weights."""
    budget = budget_bytes(gpu, need.gpu_memory_utilization)
    if budget > usable_bytes(gpu):  # the user's own share: vLLM would refuse it
        return usable_bytes(gpu) - budget
    weights = footprint.weights_on_a_card(degrees.tensor, degrees.pipeline)
    return budget - weights - overhead_bytes(footprint, degrees, gpu, need.flags)


def request_bytes(
    need: ModelRequirements, footprint: MemoryFootprint, degrees: Parallelism, gpu: Gpu, tokens: int
) -> int:
    """KV cache of one request of this many tokens, on each card."""
    return footprint.shape.kv_cache_bytes(
        tokens,
        tensor_parallel_size=degrees.tensor,
        pipeline_parallel_size=degrees.pipeline,
        in_flight=batch_with(need.flags, batch(gpu)).tokens,
        dtype=need.flags.cache_dtype or footprint.shape.dtype,
    )
