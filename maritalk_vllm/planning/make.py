"""Makes a plan. Pure: it looks at nothing but its arguments."""

from ..hardware.inventory import Inventory
from ..settings import Device
from .cpu import plan_cpu
from .device import choose_device
from .gpu import plan_gpus
from .need import Need
from .plan import Plan


def make_plan(need: Need, inventory: Inventory, wish: Device, build: Device) -> Plan:
    """A plan for this model on this machine; `build` is the device of the installed vLLM.

    Raises NoSuitableGPU, DoesNotFit or EngineError.
    """
    device, why = choose_device(wish, need, inventory, build)
    if device is Device.CPU:
        return plan_cpu(need, inventory, why)
    return plan_gpus(need, inventory)
