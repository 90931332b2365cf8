"""Select the GPUs that can serve a model, and group those that can share one. Pure."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..hardware.gpu import Gpu
from ..hardware.interconnect import Link, Links
from ..hardware.inventory import Inventory
from ..i18n.message import msg


@dataclass(frozen=True, slots=True)
class RejectedGpu:
    """A GPU that the plan does not use, and the reason. `uuid` is None if the GPU does not report one."""

    uuid: str | None
    reason: str
    label: str


def label(gpu: Gpu) -> str:
    """Display name of a GPU: `GPU 0 (NVIDIA A10)`."""
    return f"GPU {gpu.index} ({gpu.name})"


def describe_nodes(nodes: int, gpu_count: int, name: str) -> str:
    """`4 x NVIDIA A10`, or `2 nodes of 4 x NVIDIA A10`."""
    return (
        f"{gpu_count} x {name}"
        if nodes == 1
        else msg("{nodes} nodes of {gpus} x {name}", nodes=nodes, gpus=gpu_count, name=name)
    )


def partition_usable(inventory: Inventory, lowest: tuple[int, int]) -> tuple[tuple[Gpu, ...], tuple[RejectedGpu, ...]]:
    """Split the GPUs into those with at least compute capability `lowest`, and the others with the reason."""
    suitable = tuple(gpu for gpu in inventory.gpus if gpu.compute_capability >= lowest)
    rejected = [
        RejectedGpu(
            gpu.uuid,
            msg(
                "compute capability {capability}, {needed} is needed",
                capability=dotted(gpu.compute_capability),
                needed=dotted(lowest),
            ),
            label(gpu),
        )
        for gpu in inventory.gpus
        if gpu not in suitable
    ]
    rejected += [RejectedGpu(gpu.uuid, "hidden by CUDA_VISIBLE_DEVICES", label(gpu)) for gpu in inventory.hidden]
    rejected += [RejectedGpu(each.uuid, each.reason, f"GPU {each.index}") for each in inventory.unusable]
    return suitable, tuple(rejected)


def unusable_gpus(inventory: Inventory) -> tuple[RejectedGpu, ...]:
    """Every GPU of a machine with the reason why it is not used, for a model that has no plan."""
    suitable, rejected = partition_usable(inventory, (0, 0))
    return (
        *rejected,
        *(RejectedGpu(gpu.uuid, "part of no split that holds the model", label(gpu)) for gpu in suitable),
    )


def group_identical(gpus: Sequence[Gpu]) -> list[list[Gpu]]:
    """Group the GPUs that can share one model: same name, capability and memory. A MIG instance is always alone."""
    groups: dict[tuple[object, ...], list[Gpu]] = defaultdict(list)
    for gpu in gpus:
        alone = gpu.uuid if gpu.is_mig_instance else None
        groups[gpu.name, gpu.compute_capability, gpu.memory_total_bytes, alone].append(gpu)
    return list(groups.values())


def best_connected(gpus: Sequence[Gpu], count: int, links: Links) -> list[Gpu]:
    """The `count` best-connected GPUs, ties broken by free memory; connected GPUs are adjacent in the result."""
    distinct_links = {
        links.get(frozenset((one.uuid, other.uuid)), Link.SYSTEM) for one, other in itertools.combinations(gpus, 2)
    }
    if len(distinct_links) <= 1:
        return sorted(gpus, key=lambda gpu: (-gpu.memory_free_bytes, gpu.index))[:count]

    def grown(seed: Gpu) -> list[Gpu]:
        chosen = [seed]
        rest = [gpu for gpu in gpus if gpu is not seed]
        while len(chosen) < count:
            nearest = max(rest, key=lambda gpu: (*_link_scores(gpu, chosen, links), gpu.memory_free_bytes, -gpu.index))
            rest.remove(nearest)
            chosen.append(nearest)
        return chosen

    def quality(chosen: list[Gpu]) -> tuple[int, ...]:
        between = [_link_scores(gpu, chosen[:position], links) for position, gpu in enumerate(chosen) if position]
        weakest = min((weak for weak, _ in between), default=0)
        return weakest, sum(total for _, total in between), min(gpu.memory_free_bytes for gpu in chosen)

    return max((grown(seed) for seed in gpus), key=quality)


def _link_scores(gpu: Gpu, others: Sequence[Gpu], links: Links) -> tuple[int, int]:
    """The weakest link of `gpu` to the others, and the sum of its links."""
    to_others = [links.get(frozenset((gpu.uuid, other.uuid)), Link.SYSTEM) for other in others]
    return min(to_others, default=Link.SYSTEM), sum(to_others)


def weakest_link(gpus: Sequence[Gpu], links: Links) -> Link | None:
    """The weakest link between any two of these GPUs; None for a single GPU."""
    return min(
        (Link(_link_scores(gpu, gpus[:position], links)[0]) for position, gpu in enumerate(gpus) if position),
        default=None,
    )


def has_nvlink(gpus: Sequence[Gpu], links: Links) -> bool:
    """Whether NVLink connects any two of these GPUs."""
    return any(
        links.get(frozenset((one.uuid, other.uuid))) is Link.NVLINK for one, other in itertools.combinations(gpus, 2)
    )


def dotted(version: tuple[int, int]) -> str:
    """A compute capability, or a version of CUDA, as nvidia-smi prints it: `8.6`."""
    return f"{version[0]}.{version[1]}"
