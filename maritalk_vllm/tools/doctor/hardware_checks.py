"""Checks of the machine: driver, GPUs, memory, limits."""

import resource
from collections.abc import Iterator

from ...engine.attention_backend import PREFERS_FLASHINFER
from ...engine.known_failures import explain
from ...engine.torch_build import TorchBuild
from ...errors import DoesNotFit, EngineError, NoSuitableGPU
from ...hardware import resource_limits
from ...hardware.cuda_host import CudaHost
from ...hardware.gpu import Gpu
from ...hardware.interconnect import Link
from ...hardware.inventory import Inventory
from ...i18n.message import msg, pluralized
from ...models.profile import MIN_COMPUTE_CAPABILITY
from ...planning.gpu_selection import dotted, label, weakest_link
from ...server.startup.cuda_checks import cuda_problems
from ...settings import Device
from ...text_format import gigabytes
from .check import Check

_MIN_FILES = 16384
"""Each connection is an open file; a thousand users and vLLM's own sockets need a few thousand."""
_MIN_THREADS = 4096
_MIN_SHARED_MEMORY_BYTES = 1 << 30
_VECTOR_EXTENSIONS = {"avx2", "avx512f", "asimd"}


def check_driver(
    inventory: Inventory, installed_device: Device | None, requested_device: Device = Device.AUTO
) -> Iterator[Check]:
    """Check that there is a driver, without which vLLM's CUDA build serves nothing."""
    driver = inventory.driver
    if driver is not None:
        yield Check.ok("driver", msg("NVIDIA driver {version}, NVML answers.", version=driver.version))
        yield Check.ok("cuda", f"CUDA {dotted(driver.cuda_version)}.")
    elif installed_device is Device.CUDA and requested_device is not Device.CPU:
        message = msg("No NVIDIA driver: {absent}; vLLM's CUDA build needs one.", absent=inventory.absent)
        yield Check.problem("driver", NoSuitableGPU(message, inventory.absent_hint))
    else:
        message = msg("No NVIDIA driver: {absent}; serving is possible on the CPU alone.", absent=inventory.absent)
        yield Check.warning("driver", message)


def check_cuda_host(inventory: Inventory, host: CudaHost, torch: TorchBuild | None) -> Iterator[Check]:
    """Check what vLLM's CUDA build needs beside GPUs, and what FlashInfer's kernels need."""
    problems = [Check.problem(name, error) for name, error in cuda_problems(inventory.driver, host, torch)]
    yield from problems
    names = {check.name for check in problems}
    if torch is not None and torch.cuda is not None and "cuda" not in names:
        yield Check.ok(
            "torch", msg("torch {version}, for CUDA {cuda}.", version=torch.version, cuda=dotted(torch.cuda))
        )
    if "compiler" not in names:
        yield Check.ok("compiler", "A C compiler and Python's headers are installed, for Triton's kernels.")
    if host.can_use_flashinfer:
        yield Check.ok("flashinfer", "FlashInfer's kernels are installed, or can be compiled.")
        return
    message = msg(
        "FlashInfer's kernels cannot be compiled ({missing} is missing): vLLM uses others.",
        missing=", ".join(host.missing_for_flashinfer),
    )
    preferred = any(gpu.compute_capability[0] == PREFERS_FLASHINFER for gpu in inventory.gpus)
    hint = (
        "vLLM prefers them on these GPUs: install a CUDA toolkit and ninja, or run `vllm download-kernels`."
        if preferred
        else ""
    )
    yield Check.warning("flashinfer", message, hint)


def check_cuda_init(code: int | None) -> Iterator[Check]:
    """Check what the driver says when CUDA is initialized: cuInit's error, 0 for none; None if that is unknown."""
    if code is None:
        return
    if code == 0:
        yield Check.ok("cuda", "CUDA can be initialized.")
        return
    found = explain(f"Error {code}")
    message = msg("CUDA cannot be initialized, by error {code} of the driver.", code=code)
    if found.hint:
        message = msg("CUDA cannot be initialized (error {code}): {cause}", code=code, cause=found.cause)
    yield Check.problem("cuda", NoSuitableGPU(message, found.hint))


def check_gpus(inventory: Inventory) -> Iterator[Check]:
    """Check each GPU: its compute capability, the processes that use its memory, and the links between GPUs."""
    for gpu in inventory.gpus:
        yield from _check_gpu(gpu)
    for each in inventory.unusable:
        yield Check.warning(
            msg("gpu {index}", index=each.index),
            msg("GPU {index} cannot be used: {reason}.", index=each.index, reason=each.reason),
        )
    for remark in inventory.remarks:
        yield Check.warning("visible", remark)
    whole = [gpu for gpu in inventory.gpus if not gpu.is_mig_instance]
    weakest = weakest_link(whole, inventory.links)
    if weakest is not None:
        text = msg(
            "{gpus}, the weakest link between two is {text}.",
            gpus=pluralized(len(whole), "{number} GPU", "{number} GPUs"),
            text=weakest.text,
        )
        yield (
            Check.ok("links", text)
            if weakest >= Link.SWITCH
            else Check.warning("links", text, "Tensor parallelism works, and loses speed to it.")
        )


def _check_gpu(gpu: Gpu) -> Iterator[Check]:
    name = msg("gpu {index}", index=gpu.index)
    text = msg(
        "{card}: {memory_free} of {memory_total} free",
        card=label(gpu),
        memory_free=gigabytes(gpu.memory_free_bytes),
        memory_total=gigabytes(gpu.memory_total_bytes),
    )
    if gpu.compute_capability < MIN_COMPUTE_CAPABILITY:
        has, needed = dotted(gpu.compute_capability), dotted(MIN_COMPUTE_CAPABILITY)
        yield Check.warning(
            name,
            msg("{text}, compute capability {has}: too old, {needed} is needed.", text=text, has=has, needed=needed),
        )
        return
    yield Check.ok(
        name, msg("{text}, compute capability {capability}.", text=text, capability=dotted(gpu.compute_capability))
    )
    for holder in gpu.processes:
        who = msg("{process} (process {pid})", process=holder.name or "a process of another container", pid=holder.pid)
        held = msg("{who} holds memory of {card}.", who=who, card=label(gpu))
        if holder.memory_bytes:
            held = msg("{who} holds {size} of {card}.", who=who, size=gigabytes(holder.memory_bytes), card=label(gpu))
        yield Check.warning(name, held, "Stop it if the model does not fit.")


def check_processor(inventory: Inventory, installed_device: Device) -> Iterator[Check]:
    """Check that the processor has the instructions that vLLM's CPU build needs. Raises EngineError."""
    if inventory.host is None or installed_device is not Device.CPU:
        return
    if not _VECTOR_EXTENSIONS & inventory.host.cpu_features:
        raise EngineError("This processor has neither AVX2 nor AVX-512, which vLLM's CPU build needs.")
    kind = "bfloat16 is fast" if inventory.host.fast_bfloat16 else "bfloat16 is slow, float32 will be used"
    yield Check.ok(
        "processor",
        msg(
            "{cores}; {kind}.",
            cores=pluralized(len(inventory.host.cores), "{number} core", "{number} cores"),
            kind=kind,
        ),
    )


def check_host(inventory: Inventory) -> Iterator[Check]:
    """Check memory, the container's limit, shared memory, and the limits on open files and threads."""
    host = inventory.host
    if host is None:
        return
    available, total = gigabytes(host.memory_available_bytes), gigabytes(host.memory_total_bytes)
    limit = ""
    if host.memory_bound_bytes < host.memory_total_bytes:
        limit = msg(", the container's limit is {size}", size=gigabytes(host.memory_bound_bytes))
    yield Check.ok(
        "memory",
        msg("{available} of {total} of memory available{limit}.", available=available, total=total, limit=limit),
    )
    shared = host.shared_memory_bytes
    if shared is None or shared < _MIN_SHARED_MEMORY_BYTES:
        text = "/dev/shm is missing." if shared is None else msg("/dev/shm is only {size}.", size=gigabytes(shared))
        hint = "docker run --ipc=host or --shm-size=8g; in Kubernetes an emptyDir of Memory."
        if len(inventory.gpus) > 1:
            yield Check.problem(
                "shared memory", DoesNotFit(msg("{text} Several GPUs cannot communicate.", text=text), hint)
            )
        else:
            yield Check.warning("shared memory", text, hint)
    else:
        yield Check.ok("shared memory", msg("/dev/shm has {size}.", size=gigabytes(shared)))
    threads, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    for kind, soft, minimum, command in (
        ("open files", resource_limits.descriptors(), _MIN_FILES, "ulimit -n"),
        ("threads", threads, _MIN_THREADS, "ulimit -u"),
    ):
        if soft != resource.RLIM_INFINITY and soft < minimum:
            yield Check.warning(
                kind,
                msg("This user may have {number} {kind}.", number=soft, kind=kind),
                msg("Raise it: {what} {least}.", what=command, least=minimum),
            )
        else:
            yield Check.ok(
                kind,
                msg("No limit ({what}).", what=command) if soft == resource.RLIM_INFINITY else f"{soft} ({command}).",
            )
