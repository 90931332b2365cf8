"""A plan for GPUs. Pure."""

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
from .placement import Placement, find_cards, find_placement, request_bytes
from .plan import Memory, Plan
from .split_reason import split
from .unchecked_reason import all_the_same, unchecked

NOT_NEEDED = "not needed"


def plan_gpus(need: ModelRequirements, inventory: Inventory) -> Plan:
    """The cards to take and what goes where. Raises DoesNotFit."""
    suitable, rejected = partition_usable(inventory, need.lowest_capability)
    footprint, unsure = need.footprint, unchecked(need)
    if footprint is None:
        fit = find_cards(need, suitable, inventory.links)
    else:
        try:
            fit = _find_fit(need, footprint, suitable, inventory.links)
        except DoesNotFit as error:
            if (reason := all_the_same(need, error)) is None:
                raise
            unsure = (*unsure, reason)
            fit, footprint = find_cards(need, suitable, inventory.links), None
    rejected += _not_needed(suitable, fit)
    plan = Plan(
        model=need.name,
        title=need.title,
        device=Device.CUDA,
        dtype="auto",
        tensor_parallel_size=fit.degrees.tensor,
        pipeline_parallel_size=fit.degrees.pipeline,
        data_parallel_size=fit.replicas,
        nodes=fit.nodes,
        gpus=fit.gpus,
        rejected=rejected,
        gpu_memory_utilization=fit.gpu_memory_utilization,
        checked=not unsure,
        max_model_len=need.wanted_max_model_len,
        considered=fit.considered,
        warnings=(
            *inventory.remarks,
            *check_host(need, inventory.host, len(fit.gpus)),
            *_cautions(need, fit, inventory, rejected),
            *filter(None, [need.doubt]),
            *unsure,
        ),
    )
    return plan if footprint is None else _sized(plan, need, footprint, fit, suitable)


def _find_fit(need: ModelRequirements, footprint: MemoryFootprint, gpus: tuple[Gpu, ...], links: Links) -> Placement:
    try:
        return find_placement(need, footprint, gpus, links)
    except DoesNotFit as error:
        error.hint = error.hint or next(_ways_out(need, footprint, gpus, links), "")
        raise


def _ways_out(
    need: ModelRequirements, footprint: MemoryFootprint, gpus: tuple[Gpu, ...], links: Links
) -> Iterator[str]:
    """What the user could set instead of what does not fit."""

    def without(option: str) -> Iterator[Placement]:
        changes: dict[str, Any] = {option: None}
        relaxed = replace(need, **changes)
        if relaxed != need:
            with contextlib.suppress(DoesNotFit):
                yield find_placement(relaxed, footprint, gpus, links)

    for fit in without("gpu_memory_utilization"):
        yield f"--gpu-memory-utilization {fit.gpu_memory_utilization:g} would fit."
    for fit in without("wanted_max_model_len"):
        yield f"--max-model-len {fit.context} would fit."
    for fit in without("tensor_parallel_size"):
        yield f"--tensor-parallel-size {fit.degrees.tensor} would fit."
    for fit in without("pipeline_parallel_size"):
        yield f"--pipeline-parallel-size {fit.degrees.pipeline} would fit."
    for fit in without("replicas"):
        yield f"--replicas {fit.replicas} would fit."


def _sized(
    plan: Plan, need: ModelRequirements, footprint: MemoryFootprint, fit: Placement, suitable: tuple[Gpu, ...]
) -> Plan:
    """The plan with what goes where."""
    degrees, card, cards = fit.degrees, fit.gpus[0], fit.cards
    a_request = request_bytes(need, footprint, degrees, card, fit.context)
    users = fit.kv_cache_bytes / a_request * fit.replicas if a_request else None
    weights = footprint.weights_on_a_card(degrees.tensor, degrees.pipeline)
    overhead = overhead_bytes(footprint, degrees, card, need.flags)
    return replace(
        plan,
        memory=Memory(
            weights_bytes=weights * cards,
            kv_cache_bytes=fit.kv_cache_bytes * cards,
            overhead_bytes=overhead * cards,
            per_gpu_bytes=weights + fit.kv_cache_bytes + overhead,
        ),
        max_model_len=fit.context,
        kv_cache_tokens=int(users * fit.context) if users else None,
        max_concurrency=users,
        adjustments=tuple(_adjustments(need, fit)),
        split=split(need, fit, suitable),
    )


def _adjustments(need: ModelRequirements, fit: Placement) -> Iterator[str]:
    if fit.context < need.aim:
        yield (
            f"max_model_len: {fit.context} instead of {need.aim} tokens, the longest that "
            f"{gigabytes(fit.kv_cache_bytes)} of KV cache on each card hold."
        )
    share = fit.gpu_memory_utilization
    if need.gpu_memory_utilization is None and share < DEFAULT_GPU_MEMORY_UTILIZATION:
        card = min(fit.gpus, key=lambda gpu: utilization(gpu, None))
        yield (
            f"gpu_memory_utilization: {share:g} instead of {DEFAULT_GPU_MEMORY_UTILIZATION:g}, since "
            f"{gigabytes(card.memory_free_bytes)} of {gigabytes(card.memory_total_bytes)} are free on {label(card)}."
        )


def _cautions(
    need: ModelRequirements, fit: Placement, inventory: Inventory, rejected: tuple[RejectedGpu, ...]
) -> Iterator[str]:
    degrees = fit.degrees
    if fit.nodes > 1:
        yield "The other nodes are taken to have the same cards, with as much memory free."
    if degrees.pipeline > 1 and fit.nodes > 1:
        yield (
            f"The layers are spread over {fit.nodes} nodes (pipeline parallel {degrees.pipeline}): "
            "one user is answered more slowly."
        )
    elif degrees.pipeline > 1:
        why = (
            ""
            if need.pipeline_parallel_size
            else f", since tensor parallelism alone does not hold {fit.context} tokens"
        )
        yield (
            f"The layers are spread over {degrees.pipeline} stages (pipeline parallel){why}: "
            "one user is answered more slowly."
        )
    if degrees.tensor > len(fit.gpus):
        yield "Each layer is shared between nodes (tensor parallel): every token waits for the network in each of them."
    elif degrees.tensor > 1:
        groups = [fit.gpus[at : at + degrees.tensor] for at in range(0, len(fit.gpus), degrees.tensor)]
        weakest = min((weakest_link(group, inventory.links) or Link.NVLINK) for group in groups)
        if weakest < Link.SWITCH:
            yield f"The cards are linked through {weakest.text}, without NVLink: tensor parallelism loses speed to it."
    idle = sum(each.reason == NOT_NEEDED for each in rejected)
    if fit.nodes > 1 and idle:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind on each node."
    elif idle >= degrees.cards:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind; --replicas auto serves more copies there."
    elif idle:
        yield f"Idle: {pluralize(idle, 'GPU')} of this kind, too few for another copy."


def _not_needed(suitable: tuple[Gpu, ...], fit: Placement) -> tuple[RejectedGpu, ...]:
    def reason(gpu: Gpu) -> str:
        if gpu.name != fit.gpus[0].name or gpu.memory_total_bytes != fit.gpus[0].memory_total_bytes:
            return f"of another kind than the {fit.gpus[0].name} that were chosen"
        if gpu.memory_free_bytes < min(chosen.memory_free_bytes for chosen in fit.gpus):
            return f"less free than the others: {gigabytes(gpu.memory_free_bytes)}"
        return NOT_NEEDED

    return tuple(RejectedGpu(gpu.uuid, reason(gpu), label(gpu)) for gpu in suitable if gpu not in fit.gpus)
