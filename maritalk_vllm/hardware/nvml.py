"""Query the driver for this machine's GPUs through NVML. The only file that imports pynvml."""

import contextlib
import ctypes
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

import pynvml

from ..errors import NoSuitableGPU
from ..i18n.message import msg
from .gpu import Driver, Gpu, GpuProcess, UnusableGpu
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
_INSTALL_DRIVER = (
    "Install the NVIDIA driver; a container needs the NVIDIA Container Toolkit on its host, and docker run --gpus all."
)
_INTEGRATED = re.compile(r"\b(?:GB10|Orin|Thor|Xavier|Tegra|Jetson)\b", re.IGNORECASE)
"""Names of GPUs that share the host's memory, regardless of the memory that NVML reports for them."""


@dataclass(frozen=True, slots=True)
class NvmlReport:
    """The answer of NVML.

    Without an NVIDIA driver, `absent` says why and `absent_hint` what to do, `driver` is None and the rest is empty.
    `remarks` are sentences for the user.
    """

    gpus: tuple[Gpu, ...] = ()
    unusable: tuple[UnusableGpu, ...] = ()
    links: Links = field(default_factory=dict)
    driver: Driver | None = None
    absent: str = ""
    absent_hint: str = ""
    remarks: tuple[str, ...] = ()


def query_nvml() -> NvmlReport:
    """List every GPU that the driver knows, in the order of nvidia-smi; a GPU in MIG mode is listed as its instances.

    Raises NoSuitableGPU if there is a driver that does not answer.
    """
    try:
        with _nvml():
            gpus, unusable, handles = _devices()
            remarks = tuple(_fabric_remarks(gpus, handles))
            return NvmlReport(gpus, unusable, _links(gpus, handles), _driver(), remarks=remarks)
    except pynvml.NVMLError as error:
        match error.value:
            case pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
                return NvmlReport(
                    absent="the driver's library libnvidia-ml.so.1 is not installed", absent_hint=_INSTALL_DRIVER
                )
            case pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
                return NvmlReport(
                    absent="the driver is installed, but its kernel module is not loaded",
                    absent_hint="Load it with sudo modprobe nvidia; if that fails, dmesg says why.",
                )
            case pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
                raise NoSuitableGPU(
                    "The NVIDIA driver was updated while the old one is still loaded.",
                    "Restart the machine; in a container, restart the container.",
                ) from error
        raise NoSuitableGPU(
            msg("The NVIDIA driver is installed but does not answer: {error}.", error=error),
            "Check it with nvidia-smi, or serve on the CPU with --device cpu.",
        ) from error


def cuda_version() -> str | None:
    """The newest CUDA that the driver supports, as nvidia-smi prints it: `12.2`; None without a driver."""
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
    number = _or_default(lambda: pynvml.nvmlSystemGetCudaDriverVersion_v2(), 0)
    return Driver(_or_default(pynvml.nvmlSystemGetDriverVersion, "?"), (number // 1000, number % 1000 // 10))


def _devices() -> tuple[tuple[Gpu, ...], tuple[UnusableGpu, ...], dict[str, Handle]]:
    """Usable GPUs, unusable GPUs, and the handle of each whole GPU by its UUID."""
    gpus: list[Gpu] = []
    unusable: list[UnusableGpu] = []
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
                    unusable.append(UnusableGpu(index, uuid, reason))
            elif reason := _why_busy(handle):
                unusable.append(UnusableGpu(index, uuid, reason))
            else:
                gpus.append(_gpu(index, handle))
                handles[uuid] = handle
        except pynvml.NVMLError as error:
            unusable.append(
                UnusableGpu(index, uuid, _REASONS.get(error.value, msg("the driver says: {error}", error=error)))
            )
    return tuple(gpus), tuple(unusable), handles


def _gpu(index: int, device: Handle, parent: Handle = None, parent_uuid: str | None = None) -> Gpu:
    """Describe a GPU, or the MIG instance `device` of `parent`."""
    name = pynvml.nvmlDeviceGetName(device)
    total, free = _memory(device)
    return Gpu(
        index=index,
        uuid=pynvml.nvmlDeviceGetUUID(device),
        name=name,
        memory_total_bytes=total,
        memory_free_bytes=free,
        compute_capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(parent or device)),
        processes=_processes(device),
        parent_uuid=parent_uuid,
        is_integrated=parent is None and (total == 0 or _INTEGRATED.search(name) is not None),
    )


def _memory(device: Handle) -> tuple[int, int]:
    """Total and free bytes; (0, 0) if NVML reports none, as for a GPU that shares the host's memory."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_NOT_SUPPORTED:
            return 0, 0
        raise
    return memory.total, memory.free


def _in_mig_mode(handle: Handle) -> bool:
    current, _pending = _or_default(lambda: pynvml.nvmlDeviceGetMigMode(handle), (pynvml.NVML_DEVICE_MIG_DISABLE, None))
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _why_busy(handle: Handle) -> str:
    """Why CUDA would call this GPU busy; empty if it would not."""
    mode = _or_default(lambda: pynvml.nvmlDeviceGetComputeMode(handle), pynvml.NVML_COMPUTEMODE_DEFAULT)
    if mode == pynvml.NVML_COMPUTEMODE_PROHIBITED:
        return "its compute mode forbids processes: sudo nvidia-smi -c DEFAULT"
    running: tuple[Any, ...] = _or_default(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle), ())
    if mode == pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS and running:
        return msg("process {pid} uses it exclusively, as its compute mode has it", pid=running[0].pid)
    return ""


def _fabric_remarks(gpus: tuple[Gpu, ...], handles: dict[str, Handle]) -> Iterator[str]:
    """Report the GPUs whose NVSwitch is not initialized: CUDA fails on them (cudaErrorSystemNotReady)."""
    waiting = [str(gpu.index) for gpu in gpus if gpu.uuid in handles and _waits_for_fabric(handles[gpu.uuid])]
    if waiting:
        yield msg(
            "NVIDIA Fabric Manager has not initialized the NVSwitch of GPU {gpus}, without which CUDA does not run: "
            "sudo systemctl start nvidia-fabricmanager",
            gpus=", ".join(waiting),
        )


def _waits_for_fabric(handle: Handle) -> bool:
    def state() -> int:
        info = pynvml.c_nvmlGpuFabricInfo_t()
        pynvml.nvmlDeviceGetGpuFabricInfo(handle, ctypes.byref(info))
        return int(info.state)

    not_ready = (pynvml.NVML_GPU_FABRIC_STATE_NOT_STARTED, pynvml.NVML_GPU_FABRIC_STATE_IN_PROGRESS)
    return _or_default(state, pynvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED) in not_ready


def _instances(handle: Handle) -> Iterator[Handle]:
    for index in range(_or_default(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle), 0)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except pynvml.NVMLError as error:
            if error.value != pynvml.NVML_ERROR_NOT_FOUND:  # an unused index
                raise


def _processes(device: Handle) -> tuple[GpuProcess, ...]:
    """The processes that hold memory, for compute or graphics, largest first."""
    found: dict[int, GpuProcess] = {}
    # Versioned, because the unversioned functions raise something else than NVMLError if the driver lacks them.
    for query in (pynvml.nvmlDeviceGetComputeRunningProcesses_v3, pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3):
        processes: tuple[Any, ...] = _or_default(partial(query, device), ())
        for process in processes:
            found[process.pid] = GpuProcess(process.pid, _name(process.pid), process.usedGpuMemory)
    return tuple(sorted(found.values(), key=lambda process: -(process.memory_bytes or 0)))


def _name(pid: int) -> str | None:
    # Only the program's name: its arguments may contain a secret.
    name = _or_default(lambda: pynvml.nvmlSystemGetProcessName(pid), "")
    return PurePath(name.split(" ")[0]).name or None


def _links(gpus: tuple[Gpu, ...], handles: dict[str, Handle]) -> Links:
    whole = [gpu.uuid for gpu in gpus if gpu.uuid in handles]
    return {frozenset(pair): _link(*(handles[uuid] for uuid in pair)) for pair in itertools.combinations(whole, 2)}


def _link(one: Handle, other: Handle) -> Link:
    """The link between two GPUs; SYSTEM, the slowest, if the driver does not report it."""
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


def _or_default(query: Callable[[], Any], default: T) -> T:
    """Query NVML; return `default` if the driver, the container or the GPU does not support the query."""
    try:
        answer: T = query()
        return answer
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return default
