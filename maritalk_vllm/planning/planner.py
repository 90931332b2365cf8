"""Makes a plan. Pure: it looks at nothing but its arguments."""

from collections.abc import Iterator
from dataclasses import replace

from ..hardware.inventory import Inventory
from ..settings import Device
from .cpu_plan import plan_cpu
from .device_selection import choose_device
from .gpu_plan import plan_gpus
from .model_requirements import ModelRequirements
from .plan import Plan


def make_plan(need: ModelRequirements, inventory: Inventory, wish: Device, build: Device) -> Plan:
    """A plan for this model on this machine; `build` is the device of the installed vLLM.

    Raises NoSuitableGPU, DoesNotFit or EngineError.
    """
    device, why = choose_device(wish, need, inventory, build)
    plan = plan_cpu(need, inventory, why) if device is Device.CPU else plan_gpus(need, inventory)
    return replace(
        plan,
        length_known=need.footprint is None or need.longest is not None,
        warnings=(*plan.warnings, *_gaps(need, plan)),
    )


def _gaps(need: ModelRequirements, plan: Plan) -> Iterator[str]:
    """What the model's own files leave open."""
    if need.footprint is not None and need.longest is None and plan.max_model_len is not None:
        yield (
            f"{need.title} does not say how long its context may be: vLLM decides, and the plan counts "
            f"{plan.max_model_len} tokens."
        )
