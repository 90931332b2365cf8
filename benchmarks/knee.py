"""Requests that come whenever they come, at growing rates: to where a server does not keep up."""

from collections.abc import Sequence
from dataclasses import dataclass

from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics

from .load_order import Order
from .targets import HTTPTarget

SHARES = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
"""Of what the first server answers to `USERS` who ask again at once; the others get the same rates."""

USERS = 64
KEEPS_UP = 0.95
"""Of the requests that come in a second, answered in that second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """One rate on one target: requests a second that were meant to come, that came, that were answered; seconds."""

    target: str
    wire: str
    rate: float
    came: float
    answered: float
    latency_p50: float
    latency_p95: float
    first_token_p50: float | None
    first_token_p95: float | None

    @property
    def keeps_up(self) -> bool:
        """Whether the server answers what comes."""
        return self.answered >= KEEPS_UP * self.came


async def most(target: HTTPTarget, wire: str, requests: int, max_tokens: int) -> float:
    """Requests a second to users who ask again at once: the second time, when all is warm. Raises RuntimeError."""
    for first in (0, requests):
        order = Order(wire=wire, users=USERS, requests=requests, max_tokens=max_tokens, first=first)
        figures = await target.figures(order)
    return figures.requests_per_second


async def climb(
    target: HTTPTarget, wire: str, rates: Sequence[float], requests: int, max_tokens: int
) -> list[Arrivals]:
    """Each rate once. Raises RuntimeError if a request fails."""
    found = []
    for number, rate in enumerate(rates, 1):
        # As many come as chance has it.
        order = Order(wire=wire, rate=rate, requests=requests, max_tokens=max_tokens, first=2 * requests * number)
        run = await target.checked(order)
        figures = LatencyMetrics.of(run)
        assert figures.latency is not None
        token = figures.time_to_first_token
        found.append(
            Arrivals(
                target=target.name,
                wire=wire,
                rate=rate,
                came=_per_second([each.began for each in run.outcomes]),
                answered=_per_second([each.ended for each in run.outcomes]),
                latency_p50=figures.latency.p50,
                latency_p95=figures.latency.p95,
                first_token_p50=token.p50 if token else None,
                first_token_p95=token.p95 if token else None,
            )
        )
    return found


def _per_second(times: Sequence[float]) -> float:
    return (len(times) - 1) / (max(times) - min(times))


def knee(arrivals: Sequence[Arrivals]) -> float:
    """The greatest rate, of those of one target, up to which it keeps up; 0 if it never does."""
    rate = 0.0
    for each in sorted(arrivals, key=lambda each: each.rate):
        if not each.keeps_up:
            break
        rate = each.rate
    return rate
