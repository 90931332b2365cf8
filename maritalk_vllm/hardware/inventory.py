"""The inventory of a machine: what it can serve a model with."""

from dataclasses import dataclass, field

from .gpu import Driver, Gpu, UnusableGpu
from .host import Host
from .interconnect import Links


@dataclass(frozen=True, slots=True)
class Inventory:
    """GPUs and host of one machine. `host` is None if unknown.

    `gpus` are those visible to CUDA, in its order; `hidden` those that CUDA_VISIBLE_DEVICES hides. `remarks` are
    sentences for the user; `absent` says why there is no driver, and `absent_hint` what to do.
    """

    gpus: tuple[Gpu, ...]
    host: Host | None
    unusable: tuple[UnusableGpu, ...] = ()
    hidden: tuple[Gpu, ...] = ()
    links: Links = field(default_factory=dict)
    driver: Driver | None = None
    remarks: tuple[str, ...] = ()
    absent: str = ""
    absent_hint: str = ""
