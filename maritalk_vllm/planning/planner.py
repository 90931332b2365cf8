"""Make a plan: choose GPUs or the CPU, and divide the memory there. Pure: the result depends on the arguments alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import DoesNotFit, EngineError, NoSuitableGPU
from ..hardware.cuda_visible_devices import VARIABLE
from ..hardware.gpu import Gpu
from ..hardware.gpu_catalog import GpuModel
from ..hardware.inventory import Inventory
from ..i18n.message import capitalized, clause, joined, msg, sentences
from ..settings import Device
from .cpu_plan import plan_cpu
from .gpu_plan import plan_gpus
from .gpu_selection import dotted, partition_usable
from .gpu_suggestions import suggest_gpus
from .model_requirements import ModelRequirements
from .plan import Plan

_WITHOUT_GPU = "To serve without a GPU, install vLLM's CPU build in another environment: make install."


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
        raise NoSuitableGPU(error.message, sentences(suggest_gpus(requirements, catalog()), error.hint)) from error
    except DoesNotFit as error:
        if error.hint or catalog is None:
            raise
        raise DoesNotFit(error.message, suggest_gpus(requirements, catalog()), error.short) from error
    if requirements.choice:
        plan = replace(plan, adjustments=(requirements.choice, *plan.adjustments))
    if requirements.footprint is None or requirements.target_max_len is not None:
        return plan
    warnings = plan.warnings
    if plan.max_model_len is not None:
        assumed = msg(
            "{title} does not give its context length: vLLM decides, and the plan assumes {number} tokens.",
            title=requirements.title,
            number=plan.max_model_len,
        )
        warnings = (*warnings, assumed)
    return replace(plan, length_known=False, warnings=warnings)


def choose_device(
    requested_device: Device, requirements: ModelRequirements, inventory: Inventory, installed_device: Device
) -> tuple[Device, str]:
    """Return CUDA or CPU, and a sentence with the reason if the user left the choice open.

    `installed_device` is the one that the installed vLLM was built for. Raises NoSuitableGPU or EngineError.
    """
    on_cpu = requirements.runs_on_cpu
    if requested_device is Device.CPU:
        if not on_cpu:
            raise NoSuitableGPU(
                msg(
                    "{title} does not run on a CPU: {needs}.",
                    title=requirements.title,
                    needs=gpu_requirement(requirements),
                )
            )
        return _on_cpu("", installed_device)
    suitable, _ = partition_usable(inventory, requirements.lowest_capability)
    reason = _why_no_gpu(requirements, inventory, suitable, installed_device)
    if not reason:
        return Device.CUDA, ""
    if requested_device is Device.CUDA or not on_cpu:
        raise NoSuitableGPU(
            msg(
                "{title} cannot be served on a GPU here: {obstacle}; {needs}.",
                title=requirements.title,
                obstacle=reason,
                needs=gpu_requirement(requirements),
            ),
            _no_gpu_hint(inventory, installed_device, on_cpu=on_cpu),
        )
    why = capitalized(reason)
    if installed_device is Device.CUDA and not inventory.gpus:  # the right build for GPUs that this machine should have
        raise NoSuitableGPU(msg("{why}.", why=why), _no_gpu_hint(inventory, installed_device, on_cpu=on_cpu))
    return _on_cpu(why, installed_device)


def _on_cpu(why: str, installed_device: Device) -> tuple[Device, str]:
    if installed_device is not Device.CPU:
        raise EngineError(
            msg(
                "{reason}, and the installed vLLM is its CUDA build, which does not run on a CPU.",
                reason=why or "A CPU was asked for",
            ),
            "In another clone of the repository: make install.",
        )
    return Device.CPU, msg("{why}: serving on the CPU.", why=why) if why else ""


def gpu_requirement(requirements: ModelRequirements) -> str:
    """The GPU requirement of the model, as part of a sentence."""
    memory = ""
    if requirements.profile and requirements.profile.gpu_memory_gb:
        tested = ", ".join(requirements.profile.tested_gpus)
        memory = msg(
            " and {memory} GB of GPU memory in all (according to Maritaca, tested on {gpus})",
            memory=requirements.profile.gpu_memory_gb,
            gpus=tested,
        )
    return msg(
        "it needs an NVIDIA GPU of compute capability {capability} or more{memory}",
        capability=dotted(requirements.lowest_capability),
        memory=memory,
    )


def _why_no_gpu(
    requirements: ModelRequirements, inventory: Inventory, suitable: tuple[Gpu, ...], installed_device: Device
) -> str:
    if not inventory.gpus:
        if inventory.hidden:
            return msg("no GPU is visible: {remarks}", remarks=clause(sentences(*inventory.remarks)))
        if inventory.unusable:
            unusable = joined("; ", (joined(": ", (f"GPU {each.index}", each.reason)) for each in inventory.unusable))
            return msg("no GPU can be used: {gpus}", gpus=unusable)
        absent = msg(" ({reason})", reason=inventory.absent) if inventory.absent else ""
        return msg("no NVIDIA GPU was found{absent}", absent=absent)
    if not suitable:
        names = ", ".join(f"{gpu.name} ({dotted(gpu.compute_capability)})" for gpu in inventory.gpus)
        return msg(
            "no GPU has compute capability {capability}: {cards}",
            capability=dotted(requirements.lowest_capability),
            cards=names,
        )
    if installed_device is not Device.CUDA:
        return "the installed vLLM is its CPU build"
    return ""


def _no_gpu_hint(inventory: Inventory, installed_device: Device, *, on_cpu: bool) -> str:
    if installed_device is Device.CUDA and inventory.hidden and not inventory.gpus:
        return msg("Name GPUs of this machine in {variable}, or unset it.", variable=VARIABLE)
    if installed_device is Device.CUDA and (on_cpu or not inventory.gpus):
        return sentences(inventory.absent_hint, _WITHOUT_GPU if on_cpu else "")
    return "Serve it on the CPU with --device cpu." if on_cpu else "To try the server here, use --model demo."
