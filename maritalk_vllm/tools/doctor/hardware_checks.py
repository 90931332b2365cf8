"""Checks of the machine: driver, GPUs, memory, limits."""

import re
import resource
from collections.abc import Iterator
from importlib import metadata

from ...errors import DoesNotFit, EngineError, NoSuitableGPU
from ...hardware import resource_limits
from ...hardware.gpu import Gpu
from ...hardware.interconnect import Link
from ...hardware.inventory import Inventory
from ...models.profile import MIN_COMPUTE_CAPABILITY
from ...planning.gpu_selection import dotted, label, weakest_link
from ...settings import Device
from ...text_format import gigabytes, pluralize
from .check import Check

_MIN_FILES = 16384
"""Each connection is an open file; a thousand users and vLLM's own sockets need a few thousand."""
_MIN_THREADS = 4096
_MIN_SHARED_MEMORY_BYTES = 1 << 30
_VECTOR_EXTENSIONS = {"avx2", "avx512f", "asimd"}


def check_driver(inventory: Inventory, installed_device: Device | None) -> Iterator[Check]:
    """Check the driver, and that it supports the CUDA version that the installed vLLM was built for."""
    driver = inventory.driver
    if driver is None:
        where = (
            "serving is possible on the CPU alone"
            if installed_device is not Device.CUDA
            else "vLLM's CUDA build needs one"
        )
        yield Check.warning("driver", f"No NVIDIA driver: {inventory.absent}; {where}.")
        return
    cuda = dotted(driver.cuda_version)
    yield Check.ok("driver", f"NVIDIA driver {driver.version}, NVML answers.")
    needed = _cuda_of_torch() if installed_device is Device.CUDA else None
    if needed is not None and driver.cuda_version[0] < needed:
        error = NoSuitableGPU(
            f"The driver runs CUDA up to {cuda}, and the installed torch was built for CUDA {needed}.",
            "Update the NVIDIA driver.",
        )
        yield Check.problem("cuda", error)
    else:
        yield Check.ok("cuda", f"CUDA {cuda}, torch wants {needed}." if needed else f"CUDA {cuda}.")


def check_gpus(inventory: Inventory) -> Iterator[Check]:
    """Check each GPU: its compute capability, the processes that use its memory, and the links between GPUs."""
    for gpu in inventory.gpus:
        yield from _check_gpu(gpu)
    for each in inventory.unusable:
        yield Check.warning(f"gpu {each.index}", f"GPU {each.index} cannot be used: {each.reason}.")
    for remark in inventory.remarks:
        yield Check.warning("visible", remark)
    whole = [gpu for gpu in inventory.gpus if not gpu.is_mig_instance]
    weakest = weakest_link(whole, inventory.links)
    if weakest is not None:
        text = f"{pluralize(len(whole), 'GPU')}, the weakest link between two is {weakest.text}."
        yield (
            Check.ok("links", text)
            if weakest >= Link.SWITCH
            else Check.warning("links", text, "Tensor parallelism works, and loses speed to it.")
        )


def _check_gpu(gpu: Gpu) -> Iterator[Check]:
    name = f"gpu {gpu.index}"
    text = f"{label(gpu)}: {gigabytes(gpu.memory_free_bytes)} of {gigabytes(gpu.memory_total_bytes)} free"
    if gpu.compute_capability < MIN_COMPUTE_CAPABILITY:
        has, needed = dotted(gpu.compute_capability), dotted(MIN_COMPUTE_CAPABILITY)
        yield Check.warning(name, f"{text}, compute capability {has}: too old, {needed} is needed.")
        return
    yield Check.ok(name, f"{text}, compute capability {dotted(gpu.compute_capability)}.")
    for holder in gpu.processes:
        who = f"{holder.name or 'a process of another container'} (process {holder.pid})"
        held = f"{who} holds memory of {label(gpu)}."
        if holder.memory_bytes:
            held = f"{who} holds {gigabytes(holder.memory_bytes)} of {label(gpu)}."
        yield Check.warning(name, held, "Stop it if the model does not fit.")


def check_processor(inventory: Inventory, installed_device: Device) -> Iterator[Check]:
    """Check that the processor has the instructions that vLLM's CPU build needs. Raises EngineError."""
    if inventory.host is None or installed_device is not Device.CPU:
        return
    if not _VECTOR_EXTENSIONS & inventory.host.cpu_features:
        raise EngineError("This processor has neither AVX2 nor AVX-512, which vLLM's CPU build needs.")
    kind = "bfloat16 is fast" if inventory.host.fast_bfloat16 else "bfloat16 is slow, float32 will be used"
    yield Check.ok("processor", f"{pluralize(len(inventory.host.cores), 'core')}; {kind}.")


def check_host(inventory: Inventory) -> Iterator[Check]:
    """Check memory, the container's limit, shared memory, and the limits on open files and threads."""
    host = inventory.host
    if host is None:
        return
    available, total = gigabytes(host.memory_available_bytes), gigabytes(host.memory_total_bytes)
    limit = ""
    if host.memory_bound_bytes < host.memory_total_bytes:
        limit = f", the container's limit is {gigabytes(host.memory_bound_bytes)}"
    yield Check.ok("memory", f"{available} of {total} of memory available{limit}.")
    shared = host.shared_memory_bytes
    if shared is None or shared < _MIN_SHARED_MEMORY_BYTES:
        text = "/dev/shm is missing." if shared is None else f"/dev/shm is only {gigabytes(shared)}."
        hint = "docker run --ipc=host or --shm-size=8g; in Kubernetes an emptyDir of Memory."
        if len(inventory.gpus) > 1:
            yield Check.problem("shared memory", DoesNotFit(f"{text} Several GPUs cannot talk to each other.", hint))
        else:
            yield Check.warning("shared memory", text, hint)
    else:
        yield Check.ok("shared memory", f"/dev/shm has {gigabytes(shared)}.")
    threads, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    for kind, soft, minimum, command in (
        ("open files", resource_limits.descriptors(), _MIN_FILES, "ulimit -n"),
        ("threads", threads, _MIN_THREADS, "ulimit -u"),
    ):
        if soft != resource.RLIM_INFINITY and soft < minimum:
            yield Check.warning(kind, f"This user may have {soft} {kind}.", f"Raise it: {command} {minimum}.")
        else:
            yield Check.ok(kind, f"No limit ({command})." if soft == resource.RLIM_INFINITY else f"{soft} ({command}).")


def _cuda_of_torch() -> int | None:
    """Major CUDA version of the installed torch, from its package metadata: importing torch is slow."""
    for name in metadata.requires("torch") or ():
        if found := re.match(r"(?:nvidia-cuda-runtime|cuda-toolkit)\S*?==(\d+)\.", name.replace(" ", "")):
            return int(found[1])
    return None
