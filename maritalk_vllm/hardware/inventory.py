"""What this machine has to serve a model with."""

from dataclasses import dataclass, field

from .gpu import Driver, Gpu, Unusable
from .host import Host
from .interconnect import Links


@dataclass(frozen=True, slots=True)
class Inventory:
    """GPUs and host of one machine. `host` is None where nothing is known of it.

    `gpus` are those that CUDA shows, in its order; `hidden` those that CUDA_VISIBLE_DEVICES leaves out. `remarks` are
    for the user, `absent` says why there is no driver.
    """

    gpus: tuple[Gpu, ...]
    host: Host | None
    unusable: tuple[Unusable, ...] = ()
    hidden: tuple[Gpu, ...] = ()
    links: Links = field(default_factory=dict)
    driver: Driver | None = None
    remarks: tuple[str, ...] = ()
    absent: str = ""
