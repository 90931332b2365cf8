"""Probe this machine's hardware."""

import os
from dataclasses import replace

from .cuda_visible_devices import ORDER, VARIABLE, visible_gpus
from .gpu import Gpu
from .host import Host, host
from .inventory import Inventory
from .nvml import query_nvml


def probe_hardware(*, gpus: bool = True) -> Inventory:
    """Take an inventory; `gpus=False` does not query the driver. Raises NoSuitableGPU if the driver does not answer."""
    if not gpus:
        return Inventory((), host())
    found, local_host = query_nvml(), host()
    seen = visible_gpus(
        [_with_memory(gpu, local_host) for gpu in found.gpus], os.environ.get(VARIABLE), os.environ.get(ORDER)
    )
    return Inventory(
        gpus=seen.gpus,
        host=local_host,
        unusable=found.unusable,
        hidden=seen.hidden,
        links=found.links,
        driver=found.driver,
        remarks=(*seen.remarks, *found.remarks) if found.gpus else (),
        absent=found.absent,
        absent_hint=found.absent_hint,
    )


def _with_memory(gpu: Gpu, local_host: Host) -> Gpu:
    """Give an integrated GPU the host's memory. vLLM, too, counts the host's available memory as free."""
    if not gpu.is_integrated:
        return gpu
    return replace(
        gpu, memory_total_bytes=local_host.memory_total_bytes, memory_free_bytes=local_host.memory_available_bytes
    )
