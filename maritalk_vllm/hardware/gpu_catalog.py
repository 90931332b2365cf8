"""Cards that one can buy or rent, as data, so that a model can be planned for cards that are not here."""

import difflib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from .. import config_files
from ..errors import UsageError
from .gpu import Gpu
from .interconnect import Link
from .inventory import Inventory

_IDLE_BYTES = 512 << 20
"""What the driver keeps of an idle card for itself: 440 to 640 MiB (nvidia-smi -q, "Reserved"), here for every card."""

_SYSTEM_BYTES = 4 << 30
"""What an idle Linux keeps of memory that it shares with its GPU: an estimate."""

_NODES = re.compile(r"\s*(\d+)\s+nodes?\s+of\s+(.+)", re.IGNORECASE)
_OTHER_MAKERS = re.compile(
    r"amd|radeon|instinct|firepro|vega|gfx\d|mi\d{1,3}[a-z]?$|rx\d{3,4}|w[5-7][5-9]00|strix|ryzen|hygon|dcu"  # AMD
    r"|intel|arc|gaudi|flex\d|ponte|max1[15]\d0|xe|[ab]([357][1578]0|[56]0m?)$|prob[56]0"  # Intel
    r"|tpu|trainium|trn\d|inferentia|inf\d|apple|m[1-5](pro|max|ultra)?$|ascend|910[abc]|mtt|mlu|kunlun|tenstorrent"
)
"""Beginnings of names, without what `_plain` takes away, of which none is NVIDIA's."""

_MOST_RESERVED = 0.07
"""The share of a card's nominal memory, in GiB, that NVML may leave out of its total: 6.3% of an L4."""

_CLOSE = 0.8
_MOST_NODES, _MOST_CARDS, _MOST_DIGITS = 10_000, 10_000, 9
_LONGEST_NAME = 60
MOST = 72
"""Cards of one machine that are planned for: as many as the largest group with NVLink has (NVL72)."""

_COUNTED = re.compile(r"\s*(?:(\d+)\s*[xX*×]\s*)?(.+?)\s*")


@dataclass(frozen=True, slots=True)
class Card:
    """A kind of card. `names` begins with the one that NVML reports; memory in bytes; whether clouds rent it out;
    whether it is `integrated`: it has the host's memory.

    `bandwidth` in bytes a second and `flops`, dense in 16 bits, are what its maker promises; None where nobody does.
    """

    names: tuple[str, ...]
    memory_total_bytes: int
    compute_capability: tuple[int, int]
    link: Link
    cloud: bool
    bandwidth: float | None = None
    flops: float | None = None
    integrated: bool = False

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
            integrated=row.get("integrated", False),
        )
        for row in config_files.read("gpus")
    )


def find(name: str) -> Card:
    """The card that people, or NVML, call by this name. Raises UsageError with the nearest name."""
    found = {_plain(known): card for card in cards() for known in card.names}
    plain = _plain(name)
    if card := found.get(plain) or _with_its_memory(plain, found):
        return card
    if _OTHER_MAKERS.match(plain):
        raise UsageError(f"{name} is not an NVIDIA GPU.", "This server runs on NVIDIA GPUs.")
    near = _near(plain, found)
    known = ", ".join(card.short_name for card in cards())
    hint = f"Did you mean {near.short_name}?" if near else f"Known: {known}."
    raise UsageError(f"There is no card {_shortened(name)} in the table.", hint)


def _with_its_memory(plain: str, found: Mapping[str, Card]) -> Card | None:
    """`A10-24GB` is an A10, whose memory it names as its maker does."""
    for digits in (1, 2, 3):
        match = re.fullmatch(rf"(.+)(\d{{{digits}}})gb?", plain)
        card = found.get(match[1]) if match else None
        if match is not None and card is not None:
            nominal = int(match[2]) << 30
            if abs(card.memory_total_bytes - nominal) <= nominal * _MOST_RESERVED:
                return card
    return None


def _near(plain: str, found: Mapping[str, Card]) -> Card | None:
    """The card of the same series that this may be a slip of; none of another series, however its name looks."""
    kind = _series(plain)
    alike = [name for name in found if kind is not None and _series(name) == kind]
    if same := [name for name in alike if name.startswith(plain) or plain.startswith(name)]:
        return found[min(same, key=lambda name: abs(len(name) - len(plain)))]
    if wrong := [name for name in found if re.fullmatch(rf"{name}\d{{1,3}}gb?", plain)]:
        return found[max(wrong, key=len)]  # with a memory that it is not sold with
    # The last digit alone: what differs before it is another card, such as an A1000 and an A6000.
    letters, digits = kind or ("", "")
    slips = [
        name
        for name in found
        if (own := _series(name)) and own[0] == letters and own[1][:-1] == digits[:-1] and len(own[1]) == len(digits)
    ]
    return next((found[name] for name in difflib.get_close_matches(plain, slips, n=1, cutoff=_CLOSE)), None)


def _series(plain: str) -> tuple[str, str] | None:
    """`rtx4090d` begins with (`rtx`, `4090`)."""
    match = re.match(r"([a-z]*)(\d+)", plain)
    return (match[1], match[2]) if match else None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."


def _number(text: str, most: int, what: str) -> int:
    """Raises UsageError beyond `most`, or where it is none at all."""
    number = int(text) if len(text) <= _MOST_DIGITS else most + 1
    if number > most:
        raise UsageError(f"--gpus asks for {_shortened(text)} {what}.", f"Plans are made for {most} of them at most.")
    return number


def parse_node_prefix(text: str) -> tuple[int, str]:
    """`2 nodes of 4xA10` taken apart: how many machines, and the cards of each. Raises UsageError."""
    found = _NODES.fullmatch(text)
    if found is None:
        return 1, text
    nodes = _number(found[1], _MOST_NODES, "nodes")
    if nodes == 0:
        raise UsageError(f"--gpus cannot be read: {text!r}.", "Write it as 4xA10 or 2 nodes of 4xA10.")
    return nodes, found[2]


def hypothetical_machine(text: str) -> Inventory:
    """A machine with these idle cards, such as `4xA10` or `2xA100-40GB,1xT4`. Raises UsageError."""
    kinds: list[Card] = []
    for part in text.split(","):
        match = _COUNTED.fullmatch(part)
        count = _number(match[1] or "1", MOST, "cards") if match else 0
        if match is None or count == 0:
            raise UsageError(f"--gpus cannot be read: {text!r}.", "Write it as 4xA10 or 2xA100-40GB,1xT4.")
        kinds += [find(match[2])] * count
    _number(str(len(kinds)), MOST, "cards")
    return machine(kinds)


def kind(text: str) -> tuple[Card, int | None]:
    """One kind of card, and how many there are: `A10` says nothing of that, `4xA10` does. Raises UsageError."""
    match = _COUNTED.fullmatch(text)
    if match is None or (match[1] or "1").strip("0") == "" or "," in text:
        raise UsageError(f"--users counts cards of one kind, and --gpus is {text!r}.", "Write it as A10 or 4xA10.")
    return find(match[2]), _number(match[1], _MOST_CARDS, "cards") if match[1] else None


def machine(kinds: list[Card]) -> Inventory:
    """A machine with idle cards of these kinds, of which nothing else is known."""
    gpus = tuple(
        Gpu(
            index=index,
            uuid=f"GPU-{index:08x}-0000-0000-0000-000000000000",
            name=card.names[0],
            memory_total_bytes=card.memory_total_bytes,
            memory_free_bytes=card.memory_total_bytes - (_SYSTEM_BYTES if card.integrated else _IDLE_BYTES),
            compute_capability=card.compute_capability,
            is_integrated=card.integrated,
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
