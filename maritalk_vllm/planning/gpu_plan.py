"""Plan a model on GPUs. Pure."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..errors import DoesNotFit
from ..hardware.gpu import Gpu
from ..hardware.interconnect import Link, Links
from ..hardware.inventory import Inventory
from ..models.memory_footprint import MemoryFootprint
from ..settings import Device
from ..text_format import gigabytes, pluralize
from .gpu_selection import RejectedGpu, label, partition_usable, weakest_link
from .host_checks import check_host
from .memory_estimate import DEFAULT_GPU_MEMORY_UTILIZATION, overhead_bytes, utilization
from .model_requirements import ModelRequirements
from .placement import Placement, find_placement, place_unchecked, request_bytes
from .plan import Memory, Plan
from .split_reason import describe_split
from .unchecked_reason import reason_to_try_anyway, unchecked_reasons

NOT_NEEDED = "not needed"


def plan_gpus(requirements: ModelRequirements, inventory: Inventory) -> Plan:
    """Choose the GPUs and divide their memory. Raises DoesNotFit."""
    suitable, rejected = partition_usable(inventory, requirements.lowest_capability)
    footprint, unsure = requirements.footprint, unchecked_reasons(requirements)
    if footprint is None:
        fit = place_unchecked(requirements, suitable, inventory.links)
    else:
        try:
            fit = _find_fit(requirements, footprint, suitable, inventory.links)
        except DoesNotFit as error:
            if (reason := reason_to_try_anyway(requirements, error)) is None:
                raise
            unsure = (*unsure, reason)
            fit, footprint = place_unchecked(requirements, suitable, inventory.links), None
    rejected += _not_needed(suitable, fit)
    plan = Plan(
        model=requirements.name,
        title=requirements.title,
        device=Device.CUDA,
        dtype="auto",
        tensor_parallel_size=fit.parallelism.tensor,
        pipeline_parallel_size=fit.parallelism.pipeline,
        data_parallel_size=fit.replicas,
        nodes=fit.nodes,
        gpus=fit.gpus,
        rejected=rejected,
        gpu_memory_utilization=fit.gpu_memory_utilization,
        checked=not unsure,
        max_model_len=requirements.requested_max_len,
        considered=fit.considered,
        warnings=(
            *inventory.remarks,
            *check_host(requirements, inventory.host, len(fit.gpus)),
            *_warnings(requirements, fit, inventory, rejected),
            *filter(None, [requirements.doubt]),
            *unsure,
        ),
    )
    return plan if footprint is None else _with_memory(plan, requirements, footprint, fit, suitable)


def _find_fit(
    requirements: ModelRequirements, footprint: MemoryFootprint, gpus: tuple[Gpu, ...], links: Links
) -> Placement:
    try:
        return find_placement(requirements, footprint, gpus, links)
    except DoesNotFit as error:
        error.hint = error.hint or next(_alternatives(requirements, footprint, gpus, links), "")
        raise


def _alternatives(
    requirements: ModelRequirements, footprint: MemoryFootprint, gpus: tuple[Gpu, ...], links: Links
) -> Iterator[str]:
    """Yield hints: values of the user's own options with which the model would fit."""

    def without(option: str) -> Iterator[Placement]:
        changes: dict[str, Any] = {option: None}
        relaxed = replace(requirements, **changes)
        if relaxed != requirements:
            with contextlib.suppress(DoesNotFit):
                yield find_placement(relaxed, footprint, gpus, links)

    for fit in without("gpu_memory_utilization"):
        yield f"--gpu-memory-utilization {fit.gpu_memory_utilization:g} would fit."
    for fit in without("requested_max_len"):
        yield f"--max-model-len {fit.context} would fit."
    for fit in without("tensor_parallel_size"):
        yield f"--tensor-parallel-size {fit.parallelism.tensor} would fit."
    for fit in without("pipeline_parallel_size"):
        yield f"--pipeline-parallel-size {fit.parallelism.pipeline} would fit."
    for fit in without("replicas"):
        yield f"--replicas {fit.replicas} would fit."


def _with_memory(
    plan: Plan, requirements: ModelRequirements, footprint: MemoryFootprint, fit: Placement, suitable: tuple[Gpu, ...]
) -> Plan:
    """Return the plan with the memory of weights, KV cache and overhead filled in."""
    parallelism, gpu, gpu_count = fit.parallelism, fit.gpus[0], fit.gpu_count
    per_request = request_bytes(requirements, footprint, parallelism, gpu, fit.context)
    users = fit.kv_cache_bytes / per_request * fit.replicas if per_request else None
    weights = footprint.weights_bytes_per_gpu(parallelism.tensor, parallelism.pipeline)
    overhead = overhead_bytes(footprint, parallelism, gpu, requirements.flags)
    return replace(
        plan,
        memory=Memory(
            weights_bytes=weights * gpu_count,
            kv_cache_bytes=fit.kv_cache_bytes * gpu_count,
            overhead_bytes=overhead * gpu_count,
            per_gpu_bytes=weights + fit.kv_cache_bytes + overhead,
        ),
        max_model_len=fit.context,
        kv_cache_tokens=int(users * fit.context) if users else None,
        max_concurrency=users,
        adjustments=tuple(_adjustments(requirements, fit)),
        split=describe_split(requirements, fit, suitable),
    )


def _adjustments(requirements: ModelRequirements, fit: Placement) -> Iterator[str]:
    if fit.context < requirements.planned_max_len:
        yield (
            f"max_model_len: {fit.context} instead of {requirements.planned_max_len} tokens, the longest that "
            f"{gigabytes(fit.kv_cache_bytes)} of KV cache on each card hold."
        )
    share = fit.gpu_memory_utilization
    if requirements.gpu_memory_utilization is None and share < DEFAULT_GPU_MEMORY_UTILIZATION:
        fullest = min(fit.gpus, key=lambda gpu: utilization(gpu, None))
        yield (
            f"gpu_memory_utilization: {share:g} instead of {DEFAULT_GPU_MEMORY_UTILIZATION:g}, since "
            f"{gigabytes(fullest.memory_free_bytes)} of {gigabytes(fullest.memory_total_bytes)} are free on "
            f"{label(fullest)}."
        )


def _warnings(
    requirements: ModelRequirements, fit: Placement, inventory: Inventory, rejected: tuple[RejectedGpu, ...]
) -> Iterator[str]:
    parallelism = fit.parallelism
    if fit.nodes > 1:
        yield "The other nodes are assumed to have the same cards, with as much memory free."
    if parallelism.pipeline > 1 and fit.nodes > 1:
        yield (
            f"The layers are spread over {fit.nodes} nodes (pipeline parallel {parallelism.pipeline}): "
            "one user is answered more slowly."
        )
    elif parallelism.pipeline > 1:
        why = (
            ""
            if requirements.pipeline_parallel_size
            else f", since tensor parallelism alone does not hold {fit.context} tokens"
        )
        yield (
            f"The layers are spread over {parallelism.pipeline} stages (pipeline parallel){why}: "
            "one user is answered more slowly."
        )
    if parallelism.tensor > len(fit.gpus):
        yield "Each layer is shared between nodes (tensor parallel): every token waits for the network in each of them."
    elif parallelism.tensor > 1:
        groups = [fit.gpus[first : first + parallelism.tensor] for first in range(0, len(fit.gpus), parallelism.tensor)]
        weakest = min((weakest_link(group, inventory.links) or Link.NVLINK) for group in groups)
        if weakest < Link.SWITCH:
            yield f"The cards are linked through {weakest.text}, without NVLink: tensor parallelism loses speed to it."
    idle = sum(each.reason == NOT_NEEDED for each in rejected)
    if fit.nodes > 1 and idle:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind on each node."
    elif idle >= parallelism.gpu_count:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind; --replicas auto starts more replicas on them."
    elif idle:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind, too few for another replica."


def _not_needed(suitable: tuple[Gpu, ...], fit: Placement) -> tuple[RejectedGpu, ...]:
    def reason(gpu: Gpu) -> str:
        if gpu.name != fit.gpus[0].name or gpu.memory_total_bytes != fit.gpus[0].memory_total_bytes:
            return f"of another kind than the {fit.gpus[0].name} that were chosen"
        if gpu.memory_free_bytes < min(chosen.memory_free_bytes for chosen in fit.gpus):
            return f"less free than the others: {gigabytes(gpu.memory_free_bytes)}"
        return NOT_NEEDED

    return tuple(RejectedGpu(gpu.uuid, reason(gpu), label(gpu)) for gpu in suitable if gpu not in fit.gpus)
