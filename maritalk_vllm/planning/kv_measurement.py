"""The KV cache that vLLM measured at an earlier start on this host, which a plan prefers to its estimate. Pure."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date

from ..hardware.inventory import Inventory
from ..i18n.message import Number, msg
from ..settings import Device
from .model_requirements import ModelRequirements
from .plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class KvMeasurement:
    """The KV cache of one replica, in tokens, when it served a context of `max_model_len` tokens, and the day."""

    tokens: int
    max_model_len: int
    day: date


def measurement_key(
    plan: Plan,
    requirements: ModelRequirements,
    inventory: Inventory,
    flags: Sequence[str],
    software: Sequence[str],
) -> str | None:
    """Identify all that a measurement depends on; None if the plan is for no GPU of this host, or for several nodes.

    `flags` are the user's for vLLM. `software` are the versions of what runs, and what else it depends on. The key is a
    hash, and so reveals no flag.
    """
    if plan.device is not Device.CUDA or plan.nodes > 1 or not plan.kv_cache_tokens or inventory.driver is None:
        return None
    assert requirements.footprint is not None  # it gave the tokens
    conditions = {
        "host": sorted(gpu.uuid for gpu in (*inventory.gpus, *inventory.hidden)),
        "gpus": [(gpu.name, gpu.memory_total_bytes, gpu.compute_capability) for gpu in plan.gpus],
        "driver": inventory.driver.version,
        "software": list(software),
        "footprint": asdict(requirements.footprint),
        "parallelism": (plan.tensor_parallel_size, plan.pipeline_parallel_size, plan.data_parallel_size),
        "gpu_memory_utilization": plan.gpu_memory_utilization,
        "max_model_len": requirements.requested_max_len,
        "flags": list(flags),
    }
    return hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()


def with_measurement(plan: Plan, requirements: ModelRequirements, measured: KvMeasurement) -> Plan:
    """Return the plan with the measured KV cache in place of the estimate; overhead is what else remains.

    A context that the plan has chosen is shortened to the one that was served, if the measured KV cache is too small
    for it. One that the user asked for is not: the measurement is then another start's, and ignored.
    """
    context, estimate = plan.max_model_len, plan.kv_cache_tokens
    if context is None or not estimate:
        return plan
    adjustments = plan.adjustments
    if measured.tokens < context and plan.length_known:
        if requirements.requested_max_len is not None or measured.max_model_len > min(context, measured.tokens):
            return plan
        shortened = msg(
            "max_model_len: {context} instead of {longest} tokens, for which the KV cache of an earlier start was too "
            "small.",
            context=measured.max_model_len,
            longest=context,
        )
        context, adjustments = measured.max_model_len, (*adjustments, shortened)
    total = measured.tokens * plan.data_parallel_size
    kv_cache_bytes = round(plan.memory.kv_cache_bytes * total / estimate)
    overhead = max(0, plan.memory.overhead_bytes + plan.memory.kv_cache_bytes - kv_cache_bytes)
    weights = plan.memory.weights_bytes
    return replace(
        plan,
        memory=replace(
            plan.memory,
            kv_cache_bytes=kv_cache_bytes,
            overhead_bytes=overhead,
            per_gpu_bytes=(weights + kv_cache_bytes + overhead) // plan.workers,
        ),
        max_model_len=context,
        kv_cache_tokens=total,
        max_concurrency=total / context,
        adjustments=adjustments,
        measured=msg(
            "KV cache: {tokens} tokens, measured on this host on {day}.", tokens=Number(total), day=measured.day
        ),
    )
