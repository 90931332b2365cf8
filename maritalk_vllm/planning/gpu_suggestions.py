"""Which cards would hold a model: what to rent for it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import DoesNotFit
from ..hardware.gpu_catalog import Card, machine
from .gpu_selection import partition_usable
from .model_requirements import ModelRequirements
from .placement import find_placement

_COUNTS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """So many cards of a kind, all in one tensor-parallel group."""

    card: Card
    count: int

    @property
    def memory_total_bytes(self) -> int:
        """Of all cards together."""
        return self.count * self.card.memory_total_bytes

    def __str__(self) -> str:
        return f"{self.count} x {self.card.short_name}"


def suggestions(need: ModelRequirements, cards: Sequence[Card]) -> list[Suggestion]:
    """For each kind the fewest cards that hold the model without pipeline parallelism, few and small cards first.

    All in one machine, also where several were asked for.
    """
    need = replace(need, nodes=1)
    found = [suggestion for card in cards for suggestion in _fewest(need, card)]
    # Cards of nearly the same size stay in the table's order, which is that of their age.
    return sorted(found, key=lambda each: (each.count, each.memory_total_bytes // 10**10))


def suggest_gpus(need: ModelRequirements, cards: Sequence[Card]) -> str:
    """A sentence with up to four of them that can be rented, each with another number of cards."""
    found = suggestions(need, [card for card in cards if card.cloud]) if need.footprint else []
    first = {each.count: each for each in reversed(found)}
    return (
        f"What would do: {', '.join(map(str, sorted(first.values(), key=lambda each: each.count)))}." if found else ""
    )


def _fewest(need: ModelRequirements, card: Card) -> Iterator[Suggestion]:
    footprint = need.footprint
    assert footprint is not None
    need = replace(need, pipeline_parallel_size=need.pipeline_parallel_size or 1)
    for count in _COUNTS:
        inventory = machine([card] * count)
        suitable, _ = partition_usable(inventory, need.lowest_capability)
        if not suitable:
            return
        try:
            find_placement(need, footprint, suitable, inventory.links)
        except DoesNotFit:
            continue
        yield Suggestion(card, count)
        return
