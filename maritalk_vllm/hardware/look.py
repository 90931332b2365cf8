"""Asks this machine what it has."""

import os

from .host import host
from .inventory import Inventory
from .nvml import fleet
from .visible import ORDER, VARIABLE, visible


def look(*, gpus: bool = True) -> Inventory:
    """This machine as it is now; `gpus=False` leaves the driver alone. Raises NoSuitableGPU if it does not answer."""
    if not gpus:
        return Inventory((), host())
    found = fleet()
    seen = visible(found.gpus, os.environ.get(VARIABLE), os.environ.get(ORDER))
    return Inventory(
        gpus=seen.gpus,
        host=host(),
        unusable=found.unusable,
        hidden=seen.hidden,
        links=found.links,
        driver=found.driver,
        remarks=seen.remarks if found.gpus else (),
        absent=found.absent,
    )
