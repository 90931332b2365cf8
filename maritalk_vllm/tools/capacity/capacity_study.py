"""From the ways to spread one replica and a workload to how many are needed, or why no number would do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...errors import DoesNotFit, MariTalkError, NotChecked, UsageError
from ...hardware.gpu_catalog import Card, cards, find, machine
from ...planning.model_requirements import ModelRequirements
from ...planning.plan import Plan
from ...planning.planner import make_plan
from ...planning.roofline import Efficiency
from ...settings import Device
from .benchmark_data import BenchmarkLoad
from .calibrate import calibrate
from .day_profile import Day, simulate_day
from .replica_model import ReplicaModel, of_plan
from .sizing import Sized, alone, most_users, size
from .workload import Workload

MOST_CARDS = 8
"""Of one machine, over which a replica may be spread."""

_SUGGESTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a model, a workload, how much of a data sheet is reached, and what was measured instead of that.

    `limit` is how many cards there are, None where as many as are needed.
    """

    need: ModelRequirements
    workload: Workload
    efficiency: Efficiency
    loads: Sequence[BenchmarkLoad] = ()
    limit: int | None = None

    def site(self, plan: Plan) -> ReplicaModel:
        """One replica of this plan. Raises UsageError where nothing tells its speed, or requests are too long."""
        if self.need.footprint is None or plan.max_model_len is None or plan.kv_cache_tokens is None:
            raise NotChecked(self.need.doubt or f"The size of {self.need.title} is unknown.", "Download it first.")
        self.workload.fits(plan.max_model_len)
        # While it is answered a request has its prompt, and half of its answer.
        middle = self.workload.prompt + self.workload.answer // 2
        site = of_plan(plan, self.need.footprint, self.efficiency, middle, measured=bool(self.loads))
        return replace(site, cost=calibrate(site, self.loads)) if self.loads else site


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What was found out: of all ways to spread a replica, the one that takes the fewest cards; and the others."""

    question: Question
    plan: Plan
    site: ReplicaModel
    sized: Sized
    day: Day
    considered: tuple[str, ...]

    @property
    def cards(self) -> int:
        """Of all replicas."""
        return self.sized.replicas * self.site.cards


def study(question: Question, plans: Sequence[Plan]) -> Study:
    """The fewest cards that answer in time; `plans` spread one replica over more and more cards.

    Raises DoesNotFit, or UsageError for requests that are too long and cards whose speed is not known.
    """
    best: tuple[Plan, ReplicaModel, Sized] | None = None
    considered: list[str] = []
    for plan in plans:
        site = question.site(plan)
        sized = size(question.workload, site)
        considered.append(_said(site, plan, sized, question.workload))
        if sized is None:
            continue
        if best is not None and sized.replicas * site.cards >= best[2].replicas * best[1].cards:
            break  # what is spread further shares more and gains less
        best = plan, site, sized
    if best is None:
        raise _too_slow(question, plans)
    plan, site, sized = best
    found = sized.replicas * site.cards
    if question.limit is not None and found > question.limit:
        users = most_users(question.workload, site, question.limit // site.cards)
        raise DoesNotFit(
            f"{question.workload.users} users need {found} x {site.name}, and there are {question.limit}.",
            f"These answer {users} users in time." if users else "",
        )
    return Study(
        question=question,
        plan=plan,
        site=site,
        sized=sized,
        day=simulate_day(question.workload, site, sized.replicas, queues=sized.busiest.queues),
        considered=tuple(considered) if len(considered) > 1 else (),
    )


def _said(site: ReplicaModel, plan: Plan, sized: Sized | None, workload: Workload) -> str:
    degree = plan.tensor_parallel_size
    if sized is None:
        return f"tensor parallel {degree}: {alone(workload, site).p95:.1f} s for a user alone"
    return f"tensor parallel {degree}: {sized.replicas * site.cards} x {site.name}"


def _too_slow(question: Question, plans: Sequence[Plan]) -> DoesNotFit:
    workload = question.workload
    seconds, site = min(
        ((alone(workload, site).p95, site) for site in map(question.site, plans)), key=lambda one: one[0]
    )
    faster = ", ".join(_faster(question, plans[0])) if not question.loads else ""
    return DoesNotFit(
        f"A request of {workload.prompt} and {workload.answer} tokens takes {seconds:.1f} s on "
        f"{site.title} where it is alone, over the {workload.latency_p95:g} s asked for: no number of such replicas "
        "would do.",
        f"What would do: {faster}." if faster else "Ask for shorter answers, or for more time.",
    )


def _faster(question: Question, plan: Plan) -> Iterator[str]:
    """Of the cards that clouds rent, the slowest that answer a lone user in time."""
    rented = sorted((card for card in cards() if card.cloud and card.bandwidth), key=lambda card: card.bandwidth or 0)
    found = 0
    for card in rented:
        if found == _SUGGESTED or (plan.gpus and card is find(plan.gpus[0].name)):
            continue
        seconds = _alone(question, card)
        if seconds is not None and seconds <= question.workload.latency_p95:
            found += 1
            yield f"{card.short_name} ({seconds:.1f} s)"


def _alone(question: Question, card: Card) -> float | None:
    """Seconds of a lone user's request; None where the model does not fit on such cards."""
    try:
        plan = make_plan(question.need, machine([card] * MOST_CARDS), Device.CUDA, Device.CUDA)
    except UsageError:
        raise
    except MariTalkError:
        return None
    return alone(question.workload, question.site(plan)).p95
