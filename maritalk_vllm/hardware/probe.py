"""Asks this machine what it has."""

import os
from dataclasses import replace

from .cuda_visible_devices import ORDER, VARIABLE, visible
from .gpu import Gpu
from .host import Host, host
from .inventory import Inventory
from .nvml import query_nvml


def probe_hardware(*, gpus: bool = True) -> Inventory:
    """This machine as it is now; `gpus=False` leaves the driver alone. Raises NoSuitableGPU if it does not answer."""
    if not gpus:
        return Inventory((), host())
    found, here = query_nvml(), host()
    seen = visible([_with_memory(gpu, here) for gpu in found.gpus], os.environ.get(VARIABLE), os.environ.get(ORDER))
    return Inventory(
        gpus=seen.gpus,
        host=here,
        unusable=found.unusable,
        hidden=seen.hidden,
        links=found.links,
        driver=found.driver,
        remarks=seen.remarks if found.gpus else (),
        absent=found.absent,
    )


def _with_memory(gpu: Gpu, here: Host) -> Gpu:
    """An integrated GPU has the host's memory, of which vLLM too takes what is available for free."""
    if not gpu.is_integrated:
        return gpu
    return replace(gpu, memory_total_bytes=here.memory_total_bytes, memory_free_bytes=here.memory_available_bytes)
