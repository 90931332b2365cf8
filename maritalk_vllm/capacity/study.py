"""From a plan for one replica and a workload to how many of it are needed, or why no number would do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import DoesNotFit, MariTalkError, UsageError
from ..hardware.catalogue import Card, cards, find, machine
from ..planning.make import make_plan
from ..planning.need import Need
from ..planning.plan import Plan
from ..planning.roofline import Efficiency
from ..settings import Device
from .calibrate import calibrate
from .day import Day, simulate_day
from .measured import Load
from .site import Site, of_plan
from .size import Sized, alone, most_users, size
from .workload import Workload

MOST_CARDS = 8
"""Of one machine, over which a replica may be spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All that was found out. `measured` says whether a step's cost was fitted to what was measured."""

    title: str
    workload: Workload
    efficiency: Efficiency
    plan: Plan
    site: Site
    sized: Sized
    day: Day
    measured: bool

    @property
    def cards(self) -> int:
        """Of all replicas."""
        return self.sized.replicas * self.site.cards


def study(
    need: Need, plan: Plan, workload: Workload, efficiency: Efficiency, loads: Sequence[Load], limit: int | None
) -> Study:
    """How many replicas, of no more than `limit` cards in all, answer in time; `loads` were measured on one.

    Raises DoesNotFit, or UsageError for requests that are too long and cards whose speed is not known.
    """
    if need.footprint is None or plan.max_model_len is None or plan.kv_cache_tokens is None:
        raise DoesNotFit(f"{need.title} is not on this machine, so that its size is unknown.", "Download it first.")
    workload.fits(plan.max_model_len)
    site = of_plan(plan, need.footprint, efficiency, _middle(workload), measured=bool(loads))
    if loads:
        site = replace(site, cost=calibrate(site, loads))
    sized = size(workload, site)
    if sized is None:
        raise _too_slow(need, plan, workload, efficiency, site, alternatives=not loads)
    if limit is not None and sized.replicas * site.cards > limit:
        users = most_users(workload, site, limit // site.cards)
        raise DoesNotFit(
            f"{workload.users} users need {sized.replicas * site.cards} x {site.name}, and there are {limit}.",
            f"These answer {users} users in time." if users else "",
        )
    return Study(
        title=need.title,
        workload=workload,
        efficiency=efficiency,
        plan=plan,
        site=site,
        sized=sized,
        day=simulate_day(workload, site, sized.replicas),
        measured=bool(loads),
    )


def _middle(workload: Workload) -> int:
    """Tokens of context that a request has on average while it is answered."""
    return workload.prompt + workload.answer // 2


def _too_slow(
    need: Need, plan: Plan, workload: Workload, efficiency: Efficiency, site: Site, *, alternatives: bool
) -> DoesNotFit:
    words = ", ".join(_faster(need, plan, workload, efficiency)) if alternatives else ""
    return DoesNotFit(
        f"A request of {workload.prompt} and {workload.answer} tokens takes {alone(workload, site).p95:.1f} s on "
        f"{site.title} where it is alone, over the {workload.latency_p95:g} s asked for: no number of them would do.",
        f"What would do: {words}." if words else "Ask for shorter answers, or for more time.",
    )


def _faster(need: Need, plan: Plan, workload: Workload, efficiency: Efficiency) -> Iterator[str]:
    """Replicas that answer a lone user in time: more of the same cards, and the slowest of those that clouds rent."""
    if not plan.gpus:
        return
    own = find(plan.gpus[0].name)
    degree = 2 * plan.tensor_parallel_size
    while degree <= MOST_CARDS:
        seconds = _alone(replace(need, tensor_parallel_size=degree), own, workload, efficiency)
        if seconds is not None and seconds <= workload.latency_p95:
            yield f"--tensor-parallel-size {degree} ({seconds:.1f} s)"
            break
        degree *= 2
    others = sorted((card for card in cards() if card.cloud and card.bandwidth), key=lambda card: card.bandwidth or 0)
    found = 0
    for card in others:
        if card is own or found == 2:
            continue
        seconds = _alone(need, card, workload, efficiency)
        if seconds is not None and seconds <= workload.latency_p95:
            found += 1
            yield f"{card.short_name} ({seconds:.1f} s)"


def _alone(need: Need, card: Card, workload: Workload, efficiency: Efficiency) -> float | None:
    """Seconds of a lone user's request; None where the model does not fit on such cards."""
    try:
        plan = make_plan(need, machine([card] * MOST_CARDS), Device.CUDA, Device.CUDA)
    except UsageError:
        raise
    except MariTalkError:
        return None
    assert need.footprint is not None
    return alone(workload, of_plan(plan, need.footprint, efficiency, _middle(workload))).p95
