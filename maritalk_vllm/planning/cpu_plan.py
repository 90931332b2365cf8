"""Plan a model on the CPU: RAM and cores. Pure."""

import math
from collections.abc import Iterator
from dataclasses import replace

from ..errors import DoesNotFit
from ..hardware.host import Host
from ..hardware.inventory import Inventory
from ..i18n.message import Number, msg, pluralized
from ..models.memory_footprint import MemoryFootprint
from ..settings import Device
from ..text_format import gigabytes
from .batch_limits import CPU_BATCH
from .candidate import Parallelism
from .fit_errors import uneven_error
from .model_requirements import ModelRequirements
from .plan import Memory, Plan
from .roofline import cpu_bandwidth, cpu_tokens_per_second, read_bytes

GiB = 1 << 30

_SERVER_BYTES = 1_200_000_000
_WORKER_BYTES = 500_000_000
"""Measured with vLLM 0.32: 0.69 GB for all processes but the workers, 0.53 GB per worker without weights and cache."""

_SINGLE_CORE_BYTES = 16_000_000
"""Weights below which a model computes on one core: its steps are so short that threads lose more than they gain, by
waiting for each other and for a core that the API process uses. Measured on two cores, requests/s on one core / on two,
1 to 64 users, in bfloat16: 1.03 to 1.3 with 6 MB of weights; 0.85 to 0.91 with 71 MB, 0.71 to 0.9 with 270 MB. In
float32, with 13 MB, a step took 4.3 ms on one and 5.4 ms on two."""

_BLOCK_TOKENS = 128
"""Tokens per block of KV cache on a CPU, where vLLM uses larger blocks than on a GPU."""


def plan_cpu(requirements: ModelRequirements, inventory: Inventory, why: str) -> Plan:
    """Plan on this host's CPU; `why` explains the choice of device. Raises DoesNotFit for lack of memory or cores."""
    host = inventory.host
    assert host is not None, "a plan for the CPU needs a host"
    parallelism, replicas = Parallelism.requested(requirements), requirements.replicas or 1
    if error := uneven_error(requirements, parallelism):
        raise error
    workers = parallelism.gpu_count * replicas // requirements.nodes
    if workers > len(host.cores):
        raise DoesNotFit(
            pluralized(
                len(host.cores),
                "{workers} need a processor core each, and there is {number}.",
                "{workers} need a processor core each, and there are {number}.",
                workers=pluralized(workers, "{number} worker", "{number} workers"),
            ),
            "Ask for a smaller --tensor-parallel-size, --pipeline-parallel-size or --replicas.",
        )
    dtype = requirements.flags.dtype or serving_dtype(host)
    unchecked = requirements.unchecked_reasons
    plan = Plan(
        model=requirements.name,
        title=requirements.title,
        device=Device.CPU,
        dtype=dtype,
        tensor_parallel_size=parallelism.tensor,
        pipeline_parallel_size=parallelism.pipeline,
        data_parallel_size=replicas,
        nodes=requirements.nodes,
        cores=_cores_per_worker(host.cores, workers) if workers > 1 else (host.cores,),
        host_memory_available_bytes=host.memory_available_bytes,
        adjustments=(why,) if why else (),
        warnings=(*inventory.remarks, *_warnings(requirements), *filter(None, [requirements.doubt]), *unchecked),
        checked=not unchecked,
    )
    if requirements.footprint is None:
        return plan
    if indivisible := requirements.footprint.why_not_divisible(parallelism.tensor):
        raise DoesNotFit(
            msg(
                "{title} cannot be split with --tensor-parallel-size {tensor}: {reason}.",
                title=requirements.title,
                tensor=parallelism.tensor,
                reason=indivisible,
            )
        )
    footprint = requirements.footprint.served_as(dtype)
    if plan.workers == 1 and footprint.weights_bytes < _SINGLE_CORE_BYTES:
        plan = replace(plan, cores=(host.cores[:1],))
    plan = _with_speed(plan, footprint)
    try:
        return _with_memory(plan, requirements, host)
    except DoesNotFit as error:
        if (reason := requirements.reason_to_try_anyway(error.short)) is None:
            raise
        return replace(plan, checked=False, warnings=(*plan.warnings, reason))


def _warnings(requirements: ModelRequirements) -> Iterator[str]:
    if requirements.nodes > 1:
        yield "The other nodes are assumed to have as many cores, and as much memory free."


def _with_speed(plan: Plan, footprint: MemoryFootprint) -> Plan:
    """Return the plan with an estimate of its speed, and a warning if that is low."""
    cores = len(plan.cores[0]) * plan.tensor_parallel_size
    plan = replace(plan, tokens_per_second=cpu_tokens_per_second(footprint, cores))
    if not plan.is_slow:
        return plan
    warning = msg(
        "{title} is large for this CPU, and answers slowly: a single user gets at most about {rate} tokens/s, by an "
        "estimate from {weights} of weights and {bandwidth} GB/s of memory bandwidth.",
        title=plan.title,
        rate=Number(plan.tokens_per_second or 0, ".1f"),
        weights=gigabytes(read_bytes(footprint)),
        bandwidth=Number(cpu_bandwidth(cores) / 1e9, ".0f"),
    )
    return replace(plan, warnings=(*plan.warnings, warning))


def serving_dtype(host: Host) -> str:
    """The dtype to compute in on this processor."""
    # Without AVX512_BF16 or AMX, oneDNN falls back: 46 tokens/s at 16 users in bfloat16 against 112 to 172 in float32.
    return "bfloat16" if host.fast_bfloat16 else "float32"


def _with_memory(plan: Plan, requirements: ModelRequirements, host: Host) -> Plan:
    """Return the plan with its memory: the weights, then a KV cache of the requested size or of what remains."""
    assert requirements.footprint is not None
    tensor, stages = plan.tensor_parallel_size, plan.pipeline_parallel_size
    footprint = requirements.footprint.served_as(plan.dtype)
    weights = footprint.weights_bytes_per_gpu(tensor, stages)
    weights += requirements.flags.adapter_bytes(footprint.shape, tensor, stages)
    workers = plan.workers_per_node
    overhead = _SERVER_BYTES // workers + _WORKER_BYTES
    available_bytes = host.memory_available_bytes // workers - weights - overhead

    def request_bytes(tokens: int) -> int:
        # vLLM reserves one block for itself.
        return footprint.shape.kv_cache_bytes(
            math.ceil(tokens / _BLOCK_TOKENS) * _BLOCK_TOKENS + _BLOCK_TOKENS,
            tensor_parallel_size=tensor,
            pipeline_parallel_size=stages,
            in_flight=requirements.flags.batch_limits(CPU_BATCH).tokens * plan.workers,
            dtype=plan.dtype,
        )

    min_kv_bytes = request_bytes(requirements.min_max_len)
    if available_bytes < min_kv_bytes:
        raise DoesNotFit(
            msg(
                "{title} needs {size} of memory on a CPU in {dtype} ({size2} of it for weights), and "
                "{memory_available} of {bounds} are available.",
                title=requirements.title,
                size=gigabytes((weights + overhead + min_kv_bytes) * workers),
                dtype=plan.dtype,
                size2=gigabytes(weights * workers),
                memory_available=gigabytes(host.memory_available_bytes),
                bounds=_memory_bound(host),
            ),
            "Free some memory, raise the container's limit, or choose a smaller model or --max-model-len.",
        )
    requested_bytes = _requested_cache_bytes(requirements, host) // (tensor * stages)
    cache = min(available_bytes, max(requested_bytes, min_kv_bytes))
    target_len = requirements.planned_max_len
    context = requirements.longest_context(cache, request_bytes)
    users = (cache - request_bytes(0)) / max(1, request_bytes(context) - request_bytes(0)) * plan.data_parallel_size
    adjustments = list(plan.adjustments)
    if cache < requested_bytes:
        adjustments.append(
            msg(
                "KV cache: {cache} instead of {requested}, which is the memory left.",
                cache=gigabytes(cache),
                requested=gigabytes(requested_bytes),
            )
        )
    if context < target_len:
        adjustments.append(
            msg(
                "max_model_len: {context} instead of {longest} tokens, which is what {size} of KV cache hold.",
                context=context,
                longest=target_len,
                size=gigabytes(cache),
            )
        )
    return replace(
        plan,
        memory=Memory(
            weights_bytes=weights * plan.workers,
            kv_cache_bytes=cache * plan.workers,
            overhead_bytes=overhead * plan.workers,
        ),
        kv_cache_bytes=cache,
        max_model_len=context,
        kv_cache_tokens=int(users * context),
        max_concurrency=users,
        adjustments=tuple(adjustments),
    )


def _memory_bound(host: Host) -> str:
    bound = gigabytes(host.memory_bound_bytes)
    return msg("the container's {size}", size=bound) if host.memory_bound_bytes < host.memory_total_bytes else bound


def _requested_cache_bytes(requirements: ModelRequirements, host: Host) -> int:
    """KV cache bytes of one replica, over all its workers."""
    if requirements.profile and requirements.profile.cpu_kv_cache_bytes:
        return requirements.profile.cpu_kv_cache_bytes
    return max(GiB, min(4 * GiB, host.memory_available_bytes // 10))


def _cores_per_worker(cores: tuple[int, ...], workers: int) -> tuple[tuple[int, ...], ...]:
    """Divide the cores among the workers, adjacent cores together."""
    size = len(cores) // workers
    return tuple(cores[worker * size : (worker + 1) * size] for worker in range(workers))
