"""Cards that one can buy or rent, as data, so that a model can be planned for cards that are not here."""

import itertools
import re
from dataclasses import dataclass
from functools import cache

from .. import data
from ..errors import UsageError
from ..words import nearest
from .gpu import Gpu
from .inventory import Inventory
from .link import Link

_IDLE_BYTES = 512 << 20
"""What the driver keeps of an idle card for itself: 440 to 640 MiB (nvidia-smi -q, "Reserved"), here for every card."""

_NODES = re.compile(r"\s*(\d+)\s+nodes?\s+of\s+(.+)", re.IGNORECASE)
_COUNTED = re.compile(r"\s*(?:(\d+)\s*[xX*×]\s*)?(.+?)\s*")


@dataclass(frozen=True, slots=True)
class Card:
    """A kind of card. `names` begins with the one that NVML reports; memory in bytes; whether clouds rent it out.

    `bandwidth` in bytes a second and `flops`, dense in 16 bits, are what its maker promises; None where nobody does.
    """

    names: tuple[str, ...]
    memory_total_bytes: int
    compute_capability: tuple[int, int]
    link: Link
    cloud: bool
    bandwidth: float | None = None
    flops: float | None = None

    @property
    def short_name(self) -> str:
        """What people call it."""
        return self.names[1]


@cache
def cards() -> tuple[Card, ...]:
    """All of configs/gpus.yaml."""
    return tuple(
        Card(
            names=tuple(row["names"]),
            memory_total_bytes=row["memory_mib"] << 20,
            compute_capability=tuple(row["compute_capability"]),
            link=Link.NVLINK if row["link"] == "nvlink" else Link.NODE,
            cloud=row.get("cloud", False),
            bandwidth=row["gb_s"] * 1e9 if "gb_s" in row else None,
            flops=row["tflops"] * 1e12 if "tflops" in row else None,
        )
        for row in data.read("gpus")
    )


def find(name: str) -> Card:
    """The card that people, or NVML, call by this name. Raises UsageError with the nearest name."""
    found = {_plain(known): card for card in cards() for known in card.names}
    if card := found.get(_plain(name)):
        return card
    known = [card.short_name for card in cards()]
    hint = nearest(name.upper(), known)
    raise UsageError(f"There is no card {name} in the table.", hint)


def several(text: str) -> tuple[int, str]:
    """`2 nodes of 4xA10` taken apart: how many machines, and the cards of each. Raises UsageError."""
    found = _NODES.fullmatch(text)
    if found is None:
        return 1, text
    if int(found[1]) == 0:
        raise UsageError(f"--gpus cannot be read: {text!r}.", "Write it as 4xA10 or 2 nodes of 4xA10.")
    return int(found[1]), found[2]


def imagine(text: str) -> Inventory:
    """A machine with these idle cards, such as `4xA10` or `2xA100-40GB,1xT4`. Raises UsageError."""
    kinds: list[Card] = []
    for part in text.split(","):
        match = _COUNTED.fullmatch(part)
        if match is None or int(match[1] or 1) == 0:
            raise UsageError(f"--gpus cannot be read: {text!r}.", "Write it as 4xA10 or 2xA100-40GB,1xT4.")
        kinds += [find(match[2])] * int(match[1] or 1)
    return machine(kinds)


def kind(text: str) -> tuple[Card, int | None]:
    """One kind of card, and how many there are: `A10` says nothing of that, `4xA10` does. Raises UsageError."""
    match = _COUNTED.fullmatch(text)
    if match is None or match[1] == "0" or "," in text:
        raise UsageError(f"--users counts cards of one kind, and --gpus is {text!r}.", "Write it as A10 or 4xA10.")
    return find(match[2]), int(match[1]) if match[1] else None


def machine(kinds: list[Card]) -> Inventory:
    """A machine with idle cards of these kinds, of which nothing else is known."""
    gpus = tuple(
        Gpu(
            index=index,
            uuid=f"GPU-{index:08x}-0000-0000-0000-000000000000",
            name=card.names[0],
            memory_total_bytes=card.memory_total_bytes,
            memory_free_bytes=card.memory_total_bytes - _IDLE_BYTES,
            compute_capability=card.compute_capability,
        )
        for index, card in enumerate(kinds)
    )
    pairs = itertools.combinations(zip(gpus, kinds, strict=True), 2)
    links = {
        frozenset((one.uuid, other.uuid)): card.link if card is another else Link.NODE
        for (one, card), (other, another) in pairs
    }
    return Inventory(gpus, host=None, links=links)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("nvidia", "").replace("tesla", "").replace("geforce", ""))
