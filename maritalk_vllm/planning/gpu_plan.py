"""Plan a model on GPUs. Pure."""

from dataclasses import replace
from typing import Any

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu
from ..hardware.host import Host
from ..hardware.interconnect import Links
from ..hardware.inventory import Inventory
from ..i18n.message import msg
from ..models.memory_footprint import MemoryFootprint
from ..settings import Device
from ..text_format import gigabytes
from .candidate import SERVER_RAM_BYTES, WORKER_RAM_BYTES
from .fit_errors import fit_error
from .gpu_remarks import adjustments, describe_split, host_warnings, placement_warnings, unneeded_gpus
from .gpu_selection import partition_usable
from .model_requirements import ModelRequirements
from .placement import Placement, find_placement, place_unchecked
from .plan import Memory, Plan


def plan_gpus(requirements: ModelRequirements, inventory: Inventory) -> Plan:
    """Choose the GPUs and divide their memory. Raises DoesNotFit."""
    suitable, rejected = partition_usable(inventory, requirements.lowest_capability)
    placement, unchecked = _place(requirements, suitable, inventory.links)
    unneeded = unneeded_gpus(suitable, placement)
    warnings = list(inventory.remarks)
    if inventory.host is not None:
        _check_container(inventory.host, len(placement.gpus))
        warnings += host_warnings(requirements, inventory.host, len(placement.gpus))
    warnings += placement_warnings(requirements, placement, inventory, unneeded)
    warnings += filter(None, [requirements.doubt])
    plan = Plan(
        model=requirements.name,
        title=requirements.title,
        device=Device.CUDA,
        dtype="auto",
        tensor_parallel_size=placement.parallelism.tensor,
        pipeline_parallel_size=placement.parallelism.pipeline,
        data_parallel_size=placement.replicas,
        nodes=placement.nodes,
        gpus=placement.gpus,
        rejected=(*rejected, *unneeded),
        gpu_memory_utilization=placement.gpu_memory_utilization,
        max_model_len=requirements.requested_max_len,
        checked=not unchecked,
        considered=placement.considered,
        warnings=(*warnings, *unchecked),
    )
    fullest = placement.fullest
    if fullest is None:
        return plan
    per_request = fullest.request_bytes(placement.context)
    users = fullest.kv_cache_bytes / per_request * placement.replicas if per_request else None
    return replace(
        plan,
        memory=Memory(
            weights_bytes=fullest.weights_bytes * plan.workers,
            kv_cache_bytes=fullest.kv_cache_bytes * plan.workers,
            overhead_bytes=fullest.overhead_bytes * plan.workers,
            per_gpu_bytes=fullest.weights_bytes + fullest.kv_cache_bytes + fullest.overhead_bytes,
        ),
        max_model_len=placement.context,
        kv_cache_tokens=int(users * placement.context) if users else None,
        max_concurrency=users,
        split=describe_split(requirements, placement, suitable),
        adjustments=tuple(adjustments(requirements, placement, fullest)),
    )


def _place(requirements: ModelRequirements, gpus: tuple[Gpu, ...], links: Links) -> tuple[Placement, tuple[str, ...]]:
    """Return the GPUs to use, and the reasons why their memory could not be checked. Raises DoesNotFit."""
    footprint, unchecked = requirements.footprint, requirements.unchecked_reasons
    if footprint is None:
        return place_unchecked(requirements, gpus, links), unchecked
    found = find_placement(requirements, footprint, gpus, links)
    if isinstance(found, Placement):
        return found, unchecked
    error = fit_error(requirements, footprint, found.groups, found.nearest)
    if found.nearest is not None and (reason := requirements.reason_to_try_anyway(error.short)):
        return place_unchecked(requirements, gpus, links, found.nearest.parallelism), (*unchecked, reason)
    hint = error.hint or _option_that_would_fit(requirements, footprint, gpus, links)
    raise DoesNotFit(error.message, hint, error.short)


def _option_that_would_fit(
    requirements: ModelRequirements, footprint: MemoryFootprint, gpus: tuple[Gpu, ...], links: Links
) -> str:
    """A sentence with the value that one of the user's own options should have; empty if no single one would help."""

    def place_without(option: str) -> Placement | None:
        changes: dict[str, Any] = {option: None}
        relaxed = replace(requirements, **changes)
        if relaxed == requirements:
            return None
        found = find_placement(relaxed, footprint, gpus, links)
        return found if isinstance(found, Placement) else None

    if found := place_without("gpu_memory_utilization"):
        return msg(
            "--gpu-memory-utilization {gpu_memory_utilization} would fit.",
            gpu_memory_utilization=f"{found.gpu_memory_utilization:g}",
        )
    if found := place_without("requested_max_len"):
        return msg("--max-model-len {context} would fit.", context=found.context)
    if found := place_without("tensor_parallel_size"):
        return msg("--tensor-parallel-size {tensor} would fit.", tensor=found.parallelism.tensor)
    if found := place_without("pipeline_parallel_size"):
        return msg("--pipeline-parallel-size {pipeline} would fit.", pipeline=found.parallelism.pipeline)
    if found := place_without("replicas"):
        return msg("--replicas {replicas} would fit.", replicas=found.replicas)
    return ""


def _check_container(host: Host, gpu_count: int) -> None:
    """Raises DoesNotFit if the container's memory limit is below what cannot be swapped out."""
    pinned = SERVER_RAM_BYTES + WORKER_RAM_BYTES * gpu_count
    limit = host.memory_limit_bytes
    if limit is not None and limit < pinned:
        raise DoesNotFit(
            msg(
                "The container may use {limit} of memory; the processes of {cards} GPUs keep {pinned} that cannot be "
                "swapped out.",
                limit=gigabytes(limit),
                cards=gpu_count,
                pinned=gigabytes(pinned),
            ),
            msg(
                "Give it {size} or more (docker run --memory, resources.limits.memory in Kubernetes).",
                size=gigabytes(pinned),
            ),
        )
