"""Which cards may take part, and which of them belong together. Pure."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..hardware.gpu import Gpu
from ..hardware.interconnect import Link, Links
from ..hardware.inventory import Inventory


@dataclass(frozen=True, slots=True)
class RejectedGpu:
    """A card that the plan leaves out, and why. `uuid` is None for a card that does not even tell its UUID."""

    uuid: str | None
    reason: str
    label: str


def label(gpu: Gpu) -> str:
    """A card for people: `GPU 0 (NVIDIA A10)`."""
    return f"GPU {gpu.index} ({gpu.name})"


def partition_usable(inventory: Inventory, lowest: tuple[int, int]) -> tuple[tuple[Gpu, ...], tuple[RejectedGpu, ...]]:
    """The cards that can serve at all, and the others, for a model that asks for this compute capability."""
    suitable = tuple(gpu for gpu in inventory.gpus if gpu.compute_capability >= lowest)
    rejected = [
        RejectedGpu(
            gpu.uuid, f"compute capability {dotted(gpu.compute_capability)}, {dotted(lowest)} is needed", label(gpu)
        )
        for gpu in inventory.gpus
        if gpu not in suitable
    ]
    rejected += [RejectedGpu(gpu.uuid, "hidden by CUDA_VISIBLE_DEVICES", label(gpu)) for gpu in inventory.hidden]
    rejected += [RejectedGpu(each.uuid, each.reason, f"GPU {each.index}") for each in inventory.unusable]
    return suitable, tuple(rejected)


def unusable_gpus(inventory: Inventory) -> tuple[RejectedGpu, ...]:
    """All cards of a machine that cannot serve a model, where there is no plan."""
    suitable, rejected = partition_usable(inventory, (0, 0))
    return (
        *rejected,
        *(RejectedGpu(gpu.uuid, "part of no split that holds the model", label(gpu)) for gpu in suitable),
    )


def group_identical(gpus: Sequence[Gpu]) -> list[list[Gpu]]:
    """Cards that may share one model: of one name, capability and memory. A MIG instance can share with none."""
    groups: dict[tuple[object, ...], list[Gpu]] = defaultdict(list)
    for gpu in gpus:
        alone = gpu.uuid if gpu.is_mig_instance else None
        groups[gpu.name, gpu.compute_capability, gpu.memory_total_bytes, alone].append(gpu)
    return list(groups.values())


def best_connected(gpus: Sequence[Gpu], count: int, links: Links) -> list[Gpu]:
    """`count` of these cards: the best linked, then those with most free memory; neighbours beside each other."""

    ties = {links.get(frozenset((one.uuid, other.uuid)), Link.SYSTEM) for one, other in itertools.combinations(gpus, 2)}
    if len(ties) <= 1:
        return sorted(gpus, key=lambda gpu: (-gpu.memory_free_bytes, gpu.index))[:count]

    def grown(seed: Gpu) -> list[Gpu]:
        chosen = [seed]
        rest = [gpu for gpu in gpus if gpu is not seed]
        while len(chosen) < count:
            nearest = max(rest, key=lambda gpu: (*_ties(gpu, chosen, links), gpu.memory_free_bytes, -gpu.index))
            rest.remove(nearest)
            chosen.append(nearest)
        return chosen

    def quality(chosen: list[Gpu]) -> tuple[int, ...]:
        between = [_ties(gpu, chosen[:place], links) for place, gpu in enumerate(chosen) if place]
        weakest = min((weak for weak, _ in between), default=0)
        return weakest, sum(total for _, total in between), min(gpu.memory_free_bytes for gpu in chosen)

    return max((grown(seed) for seed in gpus), key=quality)


def _ties(gpu: Gpu, others: Sequence[Gpu], links: Links) -> tuple[int, int]:
    """The weakest link to the others, and all links added."""
    to_others = [links.get(frozenset((gpu.uuid, other.uuid)), Link.SYSTEM) for other in others]
    return min(to_others, default=Link.SYSTEM), sum(to_others)


def weakest_link(gpus: Sequence[Gpu], links: Links) -> Link | None:
    """Between any two of these cards; None for a single one."""
    return min((Link(_ties(gpu, gpus[:place], links)[0]) for place, gpu in enumerate(gpus) if place), default=None)


def dotted(capability: tuple[int, int]) -> str:
    """`8.6`, as nvidia-smi writes a compute capability."""
    return f"{capability[0]}.{capability[1]}"
