"""Ratios of two loads of one run, each with its spread: the unit of the targets."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from maritalk_vllm.tools.bench.latency_metrics import Percentiles

from .compare import Measured, Shape
from .targets import VLLM, EngineAlone, Ours, VLLMInterval

MIN_ROUNDS = 4
"""Minimum number of ratios for quartiles."""

_NOTCH = 1.57
"""Of the interquartile range over the root of the number: the half width of a median's confidence interval (McGill,
Tukey and Larsen, "Variations of Box Plots", 1978)."""

Value = Callable[[Measured], float | None]

MEASURES: dict[str, Value] = {
    "requests/s": lambda each: each.figures.requests_per_second,
    "API CPU a request": lambda each: each.cpu_per_request,
    "API CPU a token": lambda each: each.cpu_per_token,
    "time to first token": lambda each: _median(each.figures.time_to_first_token),
    "time per token": lambda each: _median(each.figures.inter_token),
}
"""Compared measures, by their names in the results."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A performance target: `measure` of our server's `wire` over that of `against` with `their_wire`, at one shape."""

    measure: str
    wire: str
    against: str
    their_wire: str
    shape: Shape
    target: str

    @property
    def name(self) -> str:
        """Name in the results."""
        theirs = self.against if self.their_wire == self.wire else f"{self.against}, {self.their_wire}"
        return f"{self.measure}, {self.wire} / {theirs}, {self.shape}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median over the rounds, and the half width of its confidence interval; None with too few rounds."""

    name: str
    target: str
    median: float
    spread: float | None

    def is_settled(self, share: float) -> bool:
        """Whether the median is known to within `share` of itself."""
        return self.spread is not None and self.spread <= share * self.median


def wanted(shapes: Sequence[Shape]) -> list[Wanted]:
    """The targets at the given shapes of load."""
    most = max(shapes, key=lambda shape: shape.users)
    results = []
    for shape in shapes:
        for wire, theirs, cpu in (
            ("generate", "openai-chat", "<= 0.50"),
            ("chat-generate", "openai-chat", "<= 0.50"),
            ("cloud-stream", "openai-chat-stream", "<= 0.40"),
            ("openai-text", "openai-text", "<= 1"),
            ("openai-chat", "openai-chat", "<= 1"),
            ("openai-chat-stream", "openai-chat-stream", "<= 1"),
        ):
            results.append(Wanted("requests/s", wire, VLLM.name, theirs, shape, ">= 1"))
            measure = "API CPU a token" if wire == "cloud-stream" else "API CPU a request"
            results.append(Wanted(measure, wire, VLLM.name, theirs, shape, cpu))
        stream = "openai-chat-stream"
        for measure in ("time to first token", "time per token"):
            results.append(Wanted(measure, stream, VLLM.name, stream, shape, "<= 1"))
        results.append(Wanted("requests/s", stream, VLLMInterval.name, stream, shape, ">= 1"))
        results.append(Wanted("API CPU a request", stream, VLLMInterval.name, stream, shape, "<= 1"))
    return [*results, Wanted("requests/s", "generate", EngineAlone.name, "generate", most, ">= 0.95")]


def ratios(measured: Sequence[Measured], shapes: Sequence[Shape]) -> list[Ratio]:
    """Each target whose two loads were run; a round's ratio is of loads that ran one after the other."""
    by_load: dict[tuple[str, str, Shape], dict[int, Measured]] = {}
    for each in measured:
        by_load.setdefault((each.target, each.wire, each.shape), {})[each.round] = each
    results = []
    for goal in wanted(shapes):
        ours = by_load.get((Ours.name, goal.wire, goal.shape), {})
        theirs = by_load.get((goal.against, goal.their_wire, goal.shape), {})
        values = [
            value
            for number in ours.keys() & theirs.keys()
            if (value := _ratio(MEASURES[goal.measure], ours[number], theirs[number])) is not None
        ]
        if values:
            results.append(Ratio(goal.name, goal.target, statistics.median(values), spread(values)))
    return results


def until_settled(
    shapes: Sequence[Shape], rounds: int, share: float, seconds: float
) -> Callable[[list[Measured]], bool]:
    """Return whether there are enough rounds: `rounds` of them, and each ratio known to within `share` of itself.

    After `seconds` there are enough in any case.
    """
    ends = time.monotonic() + seconds

    def is_enough(measured: list[Measured]) -> bool:
        if time.monotonic() > ends:
            return bool(measured)
        done = measured[-1].round if measured else 0
        return done >= rounds and all(each.is_settled(share) for each in ratios(measured, shapes))

    return is_enough


def _median(percentiles: Percentiles | None) -> float | None:
    return None if percentiles is None else percentiles.p50


def _ratio(value: Value, ours: Measured, theirs: Measured) -> float | None:
    above, below = value(ours), value(theirs)
    return above / below if above is not None and below else None


def spread(values: Sequence[float]) -> float | None:
    """Half width of the confidence interval of the median of `values`, at about 95 %; None for too few of them."""
    if len(values) < MIN_ROUNDS:
        return None
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return float(_NOTCH * (third - first) / len(values) ** 0.5)


def table(found: Sequence[Ratio]) -> list[str]:
    """The ratios as a Markdown table."""
    return ["| ratio | median | ± | target |", "|---|---|---|---|"] + [
        f"| {each.name} | {each.median:.3f} | {'' if each.spread is None else f'{each.spread:.3f}'} | {each.target} |"
        for each in found
    ]
