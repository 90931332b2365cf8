"""What this machine has to serve a model with."""

from dataclasses import dataclass

from .gpu import Gpu
from .host import Host, host


@dataclass(frozen=True, slots=True)
class Inventory:
    """GPUs and host of one machine."""

    gpus: tuple[Gpu, ...]
    host: Host


def look(*, gpus: bool = True) -> Inventory:
    """This machine as it is now; `gpus=False` leaves the driver alone. Raises NoSuitableGPU if it does not answer."""
    if not gpus:
        return Inventory((), host())
    from . import nvml

    return Inventory(nvml.gpus(), host())
