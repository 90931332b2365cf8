"""The GPUs of this machine, asked of the driver through NVML. The only file that imports pynvml."""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

import pynvml

from ..errors import NoSuitableGPU
from .gpu import Driver, Gpu, GpuProcess, Unusable
from .interconnect import Link, Links

T = TypeVar("T")
Handle = Any

_LOST = "it has fallen off the bus: see dmesg for its Xid error; reset it, or restart the machine"
_REASONS = {
    pynvml.NVML_ERROR_GPU_IS_LOST: _LOST,
    pynvml.NVML_ERROR_GPU_NOT_FOUND: _LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED: "it has to be reset: nvidia-smi --gpu-reset",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not use it: see the permissions of /dev/nvidia*",
}
_INTEGRATED = re.compile(r"\b(?:GB10|Orin|Thor|Xavier|Tegra|Jetson)\b", re.IGNORECASE)
"""Names of GPUs that share the host's memory, whatever NVML says of it."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """All that NVML tells. `driver` is None, and the rest empty, where there is no NVIDIA driver: `absent` says why."""

    gpus: tuple[Gpu, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    links: Links = field(default_factory=dict)
    driver: Driver | None = None
    absent: str = ""


def query_nvml() -> Fleet:
    """Every GPU that the driver knows, in the order of nvidia-smi, those in MIG mode as their instances.

    Raises NoSuitableGPU if there is a driver and it does not answer.
    """
    try:
        with _nvml():
            gpus, unusable, handles = _devices()
            return Fleet(gpus, unusable, _links(gpus, handles), _driver())
    except pynvml.NVMLError as error:
        match error.value:
            case pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return Fleet(absent="the driver's library libnvidia-ml.so.1 is not installed")
            case pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
                return Fleet(absent="the driver is installed, but its kernel module is not loaded")
            case pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
                raise NoSuitableGPU(
                    "The NVIDIA driver was updated while the old one is still loaded.",
                    "Restart the machine; in a container, restart the container.",
                ) from error
        raise NoSuitableGPU(
            f"The NVIDIA driver is installed but does not answer: {error}.",
            "Check it with nvidia-smi, or serve on the CPU with --device cpu.",
        ) from error


def cuda_version() -> str | None:
    """The newest CUDA that the driver supports, as nvidia-smi shows it: `12.2`; None where no driver tells."""
    try:
        with _nvml():
            major, minor = _driver().cuda_version
    except pynvml.NVMLError:
        return None
    return f"{major}.{minor}" if major else None


@contextlib.contextmanager
def _nvml() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _driver() -> Driver:
    number = _told(lambda: pynvml.nvmlSystemGetCudaDriverVersion_v2(), 0)
    return Driver(_told(pynvml.nvmlSystemGetDriverVersion, "?"), (number // 1000, number % 1000 // 10))


def _devices() -> tuple[tuple[Gpu, ...], tuple[Unusable, ...], dict[str, Handle]]:
    """What can be used and what cannot; and the handle of each whole GPU, by its UUID."""
    gpus: list[Gpu] = []
    unusable: list[Unusable] = []
    handles: dict[str, Handle] = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        uuid = None
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = pynvml.nvmlDeviceGetUUID(handle)
            if _in_mig_mode(handle):
                instances = [_gpu(index, instance, handle, uuid) for instance in _instances(handle)]
                gpus += instances
                if not instances:
                    reason = (
                        "MIG mode is on and it has no instance: create one with nvidia-smi mig -cgi, or turn it off"
                    )
                    unusable.append(Unusable(index, uuid, reason))
            else:
                gpus.append(_gpu(index, handle))
                handles[uuid] = handle
        except pynvml.NVMLError as error:
            unusable.append(Unusable(index, uuid, _REASONS.get(error.value, f"the driver says: {error}")))
    return tuple(gpus), tuple(unusable), handles


def _gpu(index: int, device: Handle, parent: Handle = None, parent_uuid: str | None = None) -> Gpu:
    """A GPU, or the MIG instance `device` of `parent`."""
    name = pynvml.nvmlDeviceGetName(device)
    total, free = _memory(device)
    return Gpu(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(device),
        name=name,
        memory_total_bytes=total,
        memory_free_bytes=free,
        compute_capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(parent or device)),
        holders=_holders(device),
        parent_uuid=parent_uuid,
        is_integrated=parent is None and (total == 0 or _INTEGRATED.search(name) is not None),
    )


def _memory(device: Handle) -> tuple[int, int]:
    """Total and free bytes; none where NVML has no memory to tell of, as of a GPU that shares the host's."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_NOT_SUPPORTED:
            return 0, 0
        raise
    return memory.total, memory.free


def _in_mig_mode(handle: Handle) -> bool:
    current, _pending = _told(lambda: pynvml.nvmlDeviceGetMigMode(handle), (pynvml.NVML_DEVICE_MIG_DISABLE, None))
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _instances(handle: Handle) -> Iterator[Handle]:
    for place in range(_told(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle), 0)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NOT_FOUND:  # an empty place
                raise


def _holders(device: Handle) -> tuple[GpuProcess, ...]:
    """Who holds memory, for computing or for a display, the largest first."""
    found: dict[int, GpuProcess] = {}
    # The versioned functions: with a driver that lacks them, the others raise what is no NVMLError.
    for ask in (pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3):
        processes: tuple[Any, ...] = _told(partial(ask, device), ())
        for process in processes:
            found[process.pid] = GpuProcess(process.pid, _name(process.pid), process.usedGpuMemory)
    return tuple(sorted(found.values(), key=lambda holder: -(holder.memory_bytes or 0)))


def _name(pid: int) -> str | None:
    # The program alone: its arguments may hold somebody's key.
    name = _told(lambda: pynvml.nvmlSystemGetProcessName(pid), "")
    return PurePath(name.split(" ")[0]).name or None


def _links(gpus: tuple[Gpu, ...], handles: dict[str, Handle]) -> Links:
    whole = [gpu.uuid for gpu in gpus if gpu.uuid in handles]
    return {frozenset(pair): _link(*(handles[uuid] for uuid in pair)) for pair in itertools.combinations(whole, 2)}


def _link(one: Handle, other: Handle) -> Link:
    """The slowest where the driver does not tell."""
    with contextlib.suppress(pynvml.NVMLError):
        state = pynvml.nvmlDeviceGetP2PStatus(one, other, pynvml.NVML_P2P_CAPS_INDEX_NVLINK)
        if state == pynvml.NVML_P2P_STATUS_OK:
            return Link.NVLINK
    with contextlib.suppress(pynvml.NVMLError):
        level = pynvml.nvmlDeviceGetTopologyCommonAncestor(one, other)
        if level <= pynvml.NVML_TOPOLOGY_MULTIPLE:
            return Link.SWITCH
        if level <= pynvml.NVML_TOPOLOGY_NODE:
            return Link.NODE
    return Link.SYSTEM


def _told(ask: Callable[[], Any], otherwise: T) -> T:
    """An answer that a driver, a container or a kind of card may not give."""
    try:
        answer: T = ask()
        return answer
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return otherwise
