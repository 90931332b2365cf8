"""Make a plan. Pure: the result depends on the arguments alone."""

from collections.abc import Iterator
from dataclasses import replace

from ..hardware.inventory import Inventory
from ..settings import Device
from .cpu_plan import plan_cpu
from .device_selection import choose_device
from .gpu_plan import plan_gpus
from .model_requirements import ModelRequirements
from .plan import Plan


def make_plan(
    requirements: ModelRequirements, inventory: Inventory, requested_device: Device, installed_device: Device
) -> Plan:
    """Plan the model on the machine of `inventory`; `installed_device` is the device that the installed vLLM supports.

    Raises NoSuitableGPU, DoesNotFit or EngineError.
    """
    device, why = choose_device(requested_device, requirements, inventory, installed_device)
    plan = plan_cpu(requirements, inventory, why) if device is Device.CPU else plan_gpus(requirements, inventory)
    return replace(
        plan,
        length_known=requirements.footprint is None or requirements.target_max_len is not None,
        warnings=(*plan.warnings, *_gaps(requirements, plan)),
    )


def _gaps(requirements: ModelRequirements, plan: Plan) -> Iterator[str]:
    """Yield a warning for a length that the files of the model do not give."""
    if requirements.footprint is not None and requirements.target_max_len is None and plan.max_model_len is not None:
        yield (
            f"{requirements.title} does not give its context length: vLLM decides, and the plan assumes "
            f"{plan.max_model_len} tokens."
        )
