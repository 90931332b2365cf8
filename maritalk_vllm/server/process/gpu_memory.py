"""The GPUs' memory between two engines: the driver releases a dead process's memory a while after its death."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from ...errors import NoSuitableGPU
from ...hardware.gpu import Gpu
from ...hardware.nvml import query_nvml
from ...planning.plan import Plan
from .async_tasks import run_in_background

RELEASE_SECONDS = 60.0
"""How long to wait at most. A process with hundreds of GB of pinned memory takes tens of seconds to exit."""

_POLL_SECONDS = 0.5


async def wait_until_free(plan: Plan, on_wait: Callable[[], object], seconds: float = RELEASE_SECONDS) -> bool:
    """Wait until the plan's GPUs have the memory that vLLM asks for at a start.

    `on_wait` is called once if they do not have it yet. False if they do not have it after `seconds`: vLLM then says
    what is missing. Without GPUs of their own memory, or if NVML does not answer, there is nothing to wait for.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            is_first = True
            while plan.gpus and occupied_gpus(plan, await run_in_background(usable_gpus)):
                if is_first:
                    on_wait()
                    is_first = False
                await asyncio.sleep(_POLL_SECONDS)
            return True
    return False


def occupied_gpus(plan: Plan, current: Iterable[Gpu] | None) -> tuple[Gpu, ...]:
    """Return the GPUs of the plan on which vLLM would find too little free memory, or which it could not use.

    `current` are the usable GPUs as they are now; None if that is unknown.
    """
    if current is None:
        return ()
    share = plan.gpu_memory_utilization or 0
    ready = {gpu.uuid for gpu in current if gpu.memory_free_bytes >= share * gpu.memory_total_bytes}
    return tuple(gpu for gpu in plan.gpus if gpu.uuid not in ready and not gpu.is_integrated)


def usable_gpus() -> tuple[Gpu, ...] | None:
    """The usable GPUs as they are now; None if that is unknown."""
    with contextlib.suppress(NoSuitableGPU):
        found = query_nvml()
        return found.gpus if found.driver is not None else None
    return None
