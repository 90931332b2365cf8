"""The kinds of links between GPUs."""

from collections.abc import Mapping
from enum import IntEnum


class Link(IntEnum):
    """The link between two GPUs, slowest first."""

    SYSTEM = 0
    NODE = 1
    SWITCH = 2
    NVLINK = 3

    @property
    def text(self) -> str:
        """Display name."""
        return _TEXTS[self]


_TEXTS = {
    Link.NVLINK: "NVLink",
    Link.SWITCH: "the same PCIe switch",
    Link.NODE: "the same processor",
    Link.SYSTEM: "different processors",
}

Links = Mapping[frozenset[str], Link]
"""The link of each pair of GPUs, by their UUIDs."""
