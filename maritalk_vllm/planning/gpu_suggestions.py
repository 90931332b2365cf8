"""Suggest GPUs, such as one could rent, that would hold a model. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..hardware.gpu_catalog import GpuModel, idle_machine
from ..i18n.message import msg
from .gpu_selection import partition_usable
from .model_requirements import ModelRequirements
from .placement import Placement, find_placement

_COUNTS = (1, 2, 4, 8)
_SIZE_CLASS_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`count` GPUs of one model, all in one tensor-parallel group."""

    gpu_model: GpuModel
    count: int

    @property
    def memory_total_bytes(self) -> int:
        """Memory of all these GPUs together."""
        return self.count * self.gpu_model.memory_total_bytes

    def __str__(self) -> str:
        return f"{self.count} x {self.gpu_model.short_name}"


def suggestions(requirements: ModelRequirements, gpu_models: Sequence[GpuModel]) -> list[Suggestion]:
    """For each GPU model, the fewest GPUs that hold the model without pipeline parallelism; the likely cheapest first.

    These are the fewest GPUs, then those with the least memory, then those that large clouds rent out, then the oldest.
    The GPUs of a suggestion are all in one machine, even if the user asked for several nodes.
    """
    requirements = replace(requirements, nodes=1)
    found = [
        Suggestion(gpu_model, count)
        for gpu_model in gpu_models
        if (count := _smallest_count(requirements, gpu_model)) is not None
    ]
    # Equal ones keep the order of the catalogue, which is by age.
    return sorted(found, key=lambda each: (each.count, _size_class(each.gpu_model), not each.gpu_model.cloud))


def cheapest_rented(found: Sequence[Suggestion]) -> list[Suggestion]:
    """Of these suggestions, the first of each number of GPUs that large clouds rent out: up to four."""
    first = {each.count: each for each in reversed(found) if each.gpu_model.cloud}
    return sorted(first.values(), key=lambda each: each.count)


def suggest_gpus(requirements: ModelRequirements, gpu_models: Sequence[GpuModel]) -> str:
    """A sentence with up to four suggestions that clouds rent, each with a different number of GPUs."""
    if requirements.footprint is None:
        return ""
    rented = cheapest_rented(suggestions(requirements, [gpu_model for gpu_model in gpu_models if gpu_model.cloud]))
    return msg("This would fit: {gpus}.", gpus=", ".join(map(str, rented))) if rented else ""


def _size_class(gpu_model: GpuModel) -> int:
    """The memory in units of 4 GiB: GPUs sold with the same memory, such as 24 GB, report up to 2 GiB less of it."""
    return round(gpu_model.memory_total_bytes / _SIZE_CLASS_BYTES)


def _smallest_count(requirements: ModelRequirements, gpu_model: GpuModel) -> int | None:
    footprint = requirements.footprint
    assert footprint is not None
    requirements = replace(requirements, pipeline_parallel_size=requirements.pipeline_parallel_size or 1)
    for count in _COUNTS:
        inventory = idle_machine([gpu_model] * count)
        suitable, _ = partition_usable(inventory, requirements.lowest_capability)
        if suitable and isinstance(find_placement(requirements, footprint, suitable, inventory.links), Placement):
            return count
    return None
