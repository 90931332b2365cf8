"""A plan for a machine without a GPU: RAM and cores. Pure."""

import math
from collections.abc import Iterator
from dataclasses import replace

from ..errors import DoesNotFit
from ..hardware.host import Host
from ..hardware.inventory import Inventory
from ..settings import Device
from ..text_format import gigabytes, pluralize
from .longest_context import longest_context
from .memory_estimate import CPU_BATCH, Parallelism, batch_with
from .model_requirements import ModelRequirements
from .multi_node import check_even
from .plan import Memory, Plan
from .unchecked_reason import all_the_same, unchecked

GiB = 1 << 30

_SERVER_BYTES = 1_200_000_000
_WORKER_BYTES = 500_000_000
"""Measured with vLLM 0.32: 0.69 GB for all processes but the workers, 0.53 GB a worker beside its weights and cache."""

_BLOCK_TOKENS = 128
"""vLLM gives out the KV cache in larger blocks on a CPU."""


def plan_cpu(need: ModelRequirements, inventory: Inventory, why: str) -> Plan:
    """Raises DoesNotFit if the memory or the cores do not suffice."""
    host = inventory.host
    assert host is not None, "nobody plans for a CPU that is not here"
    tensor, stages, copies = (
        need.tensor_parallel_size or 1,
        need.pipeline_parallel_size or need.nodes,
        need.replicas or 1,
    )
    check_even(need, Parallelism(tensor, stages))
    workers = tensor * stages * copies // need.nodes
    if workers > len(host.cores):
        raise DoesNotFit(
            f"{pluralize(workers, 'worker')} need a processor core each, and there are {len(host.cores)}.",
            "Ask for a smaller --tensor-parallel-size, --pipeline-parallel-size or --replicas.",
        )
    dtype = need.flags.dtype or serving_dtype(host)
    unsure = unchecked(need)
    plan = Plan(
        model=need.name,
        title=need.title,
        device=Device.CPU,
        dtype=dtype,
        tensor_parallel_size=tensor,
        pipeline_parallel_size=stages,
        data_parallel_size=copies,
        nodes=need.nodes,
        cores=_shares(host.cores, workers) if workers > 1 else (host.cores,),
        host_memory_available_bytes=host.memory_available_bytes,
        adjustments=(why,) if why else (),
        warnings=(*inventory.remarks, *_cautions(need), *filter(None, [need.doubt]), *unsure),
        checked=not unsure,
    )
    if need.footprint is None:
        return plan
    try:
        return _sized(plan, need, host)
    except DoesNotFit as error:
        if (reason := all_the_same(need, error)) is None:
            raise
        return replace(plan, checked=False, warnings=(*plan.warnings, reason))


def _cautions(need: ModelRequirements) -> Iterator[str]:
    if need.nodes > 1:
        yield "The other nodes are taken to have as many cores, and as much memory free."


def serving_dtype(host: Host) -> str:
    """The type to compute in on this processor."""
    # Without AVX512_BF16 or AMX, oneDNN falls back: 46 tokens/s at 16 users in bfloat16 against 112 to 172 in float32.
    return "bfloat16" if host.fast_bfloat16 else "float32"


def _sized(plan: Plan, need: ModelRequirements, host: Host) -> Plan:
    """The plan with memory shared out: weights, then a KV cache that is as large as wished or as fits."""
    assert need.footprint is not None
    tensor, stages = plan.tensor_parallel_size, plan.pipeline_parallel_size
    if reason := need.footprint.splits_by(tensor):
        raise DoesNotFit(f"{need.title} cannot be split with --tensor-parallel-size {tensor}: {reason}.")
    footprint = need.footprint.served_as(plan.dtype)
    weights = footprint.weights_on_a_card(tensor, stages)
    overhead = _SERVER_BYTES // plan.workers_here + _WORKER_BYTES
    room = host.memory_available_bytes // plan.workers_here - weights - overhead

    def request_bytes(tokens: int) -> int:
        # vLLM keeps one block for itself.
        return footprint.shape.kv_cache_bytes(
            math.ceil(tokens / _BLOCK_TOKENS) * _BLOCK_TOKENS + _BLOCK_TOKENS,
            tensor_parallel_size=tensor,
            pipeline_parallel_size=stages,
            in_flight=batch_with(need.flags, CPU_BATCH).tokens * plan.workers,
            dtype=plan.dtype,
        )

    least = request_bytes(need.shortest)
    if room < least:
        raise DoesNotFit(
            f"{need.title} needs {gigabytes((weights + overhead + least) * plan.workers_here)} of memory on a CPU in "
            f"{plan.dtype} ({gigabytes(weights * plan.workers_here)} of it for weights), and "
            f"{gigabytes(host.memory_available_bytes)} of {_bounds(host)} are available.",
            "Free some memory, raise the container's limit, or choose a smaller model or --max-model-len.",
        )
    wished = _wished_cache_bytes(need, host) // (tensor * stages)
    cache = min(room, max(wished, least))
    longest = need.aim
    context = longest_context(longest, need.shortest, cache, request_bytes)
    users = (cache - request_bytes(0)) / max(1, request_bytes(context) - request_bytes(0)) * plan.data_parallel_size
    adjustments = list(plan.adjustments)
    if cache < wished:
        adjustments.append(f"KV cache: {gigabytes(cache)} instead of {gigabytes(wished)}, which is the memory left.")
    if context < longest:
        adjustments.append(
            f"max_model_len: {context} instead of {longest} tokens, which is what {gigabytes(cache)} of KV cache hold."
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


def _bounds(host: Host) -> str:
    bound = gigabytes(host.memory_bound_bytes)
    return f"the container's {bound}" if host.memory_bound_bytes < host.memory_total_bytes else bound


def _wished_cache_bytes(need: ModelRequirements, host: Host) -> int:
    """KV cache of one copy, all its workers together."""
    if need.profile and need.profile.cpu_kv_cache_bytes:
        return need.profile.cpu_kv_cache_bytes
    return max(GiB, min(4 * GiB, host.memory_available_bytes // 10))


def _shares(cores: tuple[int, ...], workers: int) -> tuple[tuple[int, ...], ...]:
    """The cores of each worker, neighbours together."""
    size = len(cores) // workers
    return tuple(cores[at * size : (at + 1) * size] for at in range(workers))
