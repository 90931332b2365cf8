"""Render a plan as text and as JSON data. Pure."""

from collections.abc import Iterator
from typing import Any

from ..errors import DoesNotFit, MariTalkError, NoSuitableGPU, NotChecked
from ..hardware.gpu import Gpu
from ..i18n.message import Number, joined, msg, numeral, pluralized, tenths
from ..i18n.rendering import localized, say
from ..settings import Device
from ..text_format import gigabytes, table
from .gpu_selection import RejectedGpu, describe_nodes, dotted
from .plan import Outcome, Plan


def description(plan: Plan) -> str:
    """Where the model runs and what that leaves for requests, such as `2 x NVIDIA A10, tensor parallel 2; ...`."""
    return joined("", (_location(plan), _capacity(plan)))


def summary(plan: Plan) -> list[str]:
    """The lines that a server start prints: the plan, its split, and each adjustment and warning."""
    where = _location(plan)
    text = (
        msg("Plan: {where}{capacity}.", where=where, capacity=_capacity(plan))
        if plan.checked
        else msg("Plan, not checked: {where}.", where=where)
    )
    warnings = (msg("Warning: {warning}", warning=each) for each in plan.warnings)
    return [text, *_split(plan), *_measured(plan), *plan.adjustments, *warnings]


def report(plan: Plan) -> list[str]:
    """The full plan in the user's language: GPUs, memory, number of users, and what was left out and why."""
    where = _location(plan)
    headline = (
        msg("{title} fits: {where}.", title=plan.title, where=where)
        if plan.checked
        else msg("{title} was not checked: {where}.", title=plan.title, where=where)
    )
    lines = [localized(headline)]
    lines += map(localized, (*_split(plan), *_measured(plan)))
    lines += ["", *_gpu_table(plan), *_sizes(plan)]
    for title, entries in (
        ("Left out:", [joined(": ", (each.label, each.reason)) for each in plan.rejected]),
        ("Considered:", plan.considered),
        ("Adjusted:", plan.adjustments),
        ("Warnings:", plan.warnings),
    ):
        if entries:
            lines += ["", localized(title), *(f"  {localized(entry)}" for entry in entries)]
    return lines


def as_data(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data. `fits` is null if it could not be checked."""
    memory = plan.memory
    return {
        "outcome": plan.outcome.value,
        "fits": True if plan.checked else None,
        "model": plan.model,
        "device": plan.device.value,
        "tensor_parallel_size": plan.tensor_parallel_size,
        "pipeline_parallel_size": plan.pipeline_parallel_size,
        "data_parallel_size": plan.data_parallel_size,
        "nodes": plan.nodes,
        "gpus": [_gpu(gpu) for gpu in plan.gpus],
        "rejected": [_rejected(each) for each in plan.rejected],
        "memory": {
            "weights_bytes": memory.weights_bytes,
            "kv_cache_bytes": memory.kv_cache_bytes,
            "overhead_bytes": memory.overhead_bytes,
            "per_gpu_bytes": memory.per_gpu_bytes,
        },
        "gpu_memory_utilization": plan.gpu_memory_utilization,
        "max_model_len": plan.max_model_len,
        "max_concurrency": None if plan.max_concurrency is None else round(plan.max_concurrency, 2),
        "adjustments": list(plan.adjustments),
        "warnings": list(plan.warnings),
        "split": next(_split(plan), None),
        "measured": plan.measured or None,
        "error": None,
    }


def as_refusal(model: str | None, error: MariTalkError, rejected: tuple[RejectedGpu, ...]) -> dict[str, Any]:
    """An error, such as a model that does not fit, with the same keys as a plan."""
    outcome = Outcome.NOT_CHECKED if isinstance(error, NotChecked) else Outcome.DOES_NOT_FIT
    return {
        "outcome": outcome.value if isinstance(error, NotChecked | DoesNotFit | NoSuitableGPU) else None,
        "fits": False,
        "model": model,
        "device": None,
        "tensor_parallel_size": None,
        "pipeline_parallel_size": None,
        "data_parallel_size": None,
        "nodes": None,
        "gpus": [],
        "rejected": [_rejected(each) for each in rejected],
        "memory": None,
        "gpu_memory_utilization": None,
        "max_model_len": None,
        "max_concurrency": None,
        "adjustments": [],
        "warnings": [],
        "split": None,
        "measured": None,
        "error": {"code": error.code, "message": error.message, "hint": error.hint},
    }


def _split(plan: Plan) -> Iterator[str]:
    if plan.split:
        yield msg("Split: {split}", split=plan.split)


def _measured(plan: Plan) -> Iterator[str]:
    if plan.measured:
        yield plan.measured


def _location(plan: Plan) -> str:
    if plan.device is Device.CPU:
        cores = sum(map(len, plan.cores))
        shared = pluralized(cores, "{number} core", "{number} cores")
        if plan.workers_per_node > 1:
            shared = msg("{cores} by {workers} workers", cores=shared, workers=plan.workers_per_node)
        if plan.nodes > 1:
            shared = msg("{cores} of each of {number} nodes", cores=shared, number=plan.nodes)
        return msg("the CPU, {cores}, {dtype}", cores=shared, dtype=plan.dtype)
    split = [
        msg("{name} parallel {size}", name=name, size=size)
        for name, size in (("tensor", plan.tensor_parallel_size), ("pipeline", plan.pipeline_parallel_size))
        if size > 1
    ]
    replicas = [msg("{number} copies", number=plan.data_parallel_size)] if plan.data_parallel_size > 1 else []
    return joined(", ", (describe_nodes(plan.nodes, len(plan.gpus), plan.gpus[0].name), *split, *replicas))


def _capacity(plan: Plan) -> str:
    if plan.max_concurrency is None:
        return ""
    memory = plan.memory
    return msg(
        "; {weights} of weights and {kv_cache} of KV cache{where}, for {users}",
        weights=gigabytes(memory.weights_bytes / plan.workers),
        kv_cache=gigabytes(memory.kv_cache_bytes / plan.workers),
        where=_memory_location(plan),
        users=_users(plan),
    )


def _memory_location(plan: Plan) -> str:
    """Where weights and KV cache are, to follow their sizes."""
    if plan.device is Device.CUDA:
        return "" if plan.workers == 1 else " on each"
    available = gigabytes(plan.host_memory_available_bytes or 0)
    return msg(
        " in {available} of memory" if plan.workers == 1 else " for each in {available} of memory", available=available
    )


def _users(plan: Plan) -> str:
    return (
        msg(
            "{users} at {max_model_len} tokens",
            users=pluralized(tenths(plan.max_concurrency), "{number} user", "{number} users"),
            max_model_len=plan.max_model_len,
        )
        if plan.max_concurrency
        else "no users"
    )


def _gpu_table(plan: Plan) -> list[str]:
    if not plan.gpus:
        return []
    header = ("GPU", "name", "capability", "total", "free", "weights", "KV cache", "overhead")
    memory, gpu_count = plan.memory, plan.workers
    sizes = [
        gigabytes(size / gpu_count) for size in (memory.weights_bytes, memory.kv_cache_bytes, memory.overhead_bytes)
    ]
    rows = [
        (
            str(gpu.index),
            gpu.name,
            dotted(gpu.compute_capability),
            gigabytes(gpu.memory_total_bytes),
            gigabytes(gpu.memory_free_bytes),
            *(sizes if plan.max_concurrency is not None else ("?", "?", "?")),
        )
        for gpu in plan.gpus
    ]
    each = [say("On each of the {number} nodes:", number=plan.nodes)] if plan.nodes > 1 else []
    return [*each, *table([list(map(localized, header)), *rows]), ""]


def _sizes(plan: Plan) -> list[str]:
    rows: list[tuple[str, str]] = []
    if plan.device is Device.CPU and plan.max_concurrency is not None:
        memory = plan.memory
        rows.append(("weights", gigabytes(memory.weights_bytes)))
        rows.append(("processes", gigabytes(memory.overhead_bytes)))
        rows.append(("memory available", gigabytes(plan.host_memory_available_bytes or 0)))
    if plan.max_concurrency is not None:
        tokens, size = Number(plan.kv_cache_tokens or 0), gigabytes(plan.memory.kv_cache_bytes)
        kv_cache = msg("{tokens} tokens, {size}", tokens=tokens, size=size)
        if (copies := plan.data_parallel_size) > 1:
            kv_cache = msg("{tokens} tokens in {copies} copies, {size}", tokens=tokens, copies=copies, size=size)
        rows.append(("KV cache", kv_cache))
        rows.append(("users at full context", numeral(plan.max_concurrency, ".1f")))
    if plan.max_model_len is not None:
        rows.append(("max_model_len", msg("{number} tokens", number=plan.max_model_len)))
    if plan.gpu_memory_utilization is not None:
        rows.append(("gpu_memory_utilization", f"{plan.gpu_memory_utilization:g}"))
    return table([list(map(localized, row)) for row in rows]) if rows else []


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "memory_total_bytes": gpu.memory_total_bytes,
        "memory_free_bytes": gpu.memory_free_bytes,
        "compute_capability": dotted(gpu.compute_capability),
    }


def _rejected(each: RejectedGpu) -> dict[str, Any]:
    return {"uuid": each.uuid, "reason": each.reason}
