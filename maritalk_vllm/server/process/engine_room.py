"""Whether there is room for a second engine beside the one that runs."""

from ...hardware.host import host
from ...planning.candidate import SERVER_RAM_BYTES, WORKER_RAM_BYTES
from ...planning.plan import Plan
from .gpu_memory import occupied_gpus, usable_gpus

GiB = 1 << 30

RESERVE_BYTES = GiB
"""Memory of the host that a second engine has to leave free."""


def has_room(plan: Plan, running: Plan) -> bool:
    """Whether the memory that is free now suffices for `plan`, beside the engine that runs by the plan `running`.

    It asks the driver, or the system. False if that, or what the plan takes, is unknown.
    """
    return (gpus_have_room(plan) if plan.gpus else _is_known(plan)) and _host_bytes(plan, running) <= available_bytes()


def gpus_have_room(plan: Plan) -> bool:
    """Whether vLLM would find now the share of each GPU's memory that it asks for at a start. False without GPUs."""
    current = usable_gpus()
    is_known = bool(plan.gpus) and plan.gpu_memory_utilization is not None and current is not None
    # The memory of an integrated GPU is the host's, of which its plan says nothing.
    return is_known and not any(gpu.is_integrated for gpu in plan.gpus) and not occupied_gpus(plan, current)


def _is_known(plan: Plan) -> bool:
    return plan.checked and plan.memory.weights_bytes > 0


def _host_bytes(plan: Plan, running: Plan) -> int:
    """Bytes of the host's memory that have to be available."""
    if plan.gpus:
        needed = SERVER_RAM_BYTES + WORKER_RAM_BYTES * plan.workers
    else:
        needed = plan.memory.weights_bytes + plan.memory.kv_cache_bytes + plan.memory.overhead_bytes
    # On a CPU, the system counts no page of a KV cache as used before a request has filled it.
    growth = 0 if running.gpus else running.memory.kv_cache_bytes
    return needed + growth + RESERVE_BYTES


def available_bytes() -> int:
    """Bytes of memory that are available on this host, within the limits of its container."""
    return host().memory_available_bytes
