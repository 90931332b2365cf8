"""Requests that come whenever they come, at growing rates: to where a server does not keep up."""

from collections.abc import Sequence
from dataclasses import dataclass

from .load_order import Order
from .targets import HTTPTarget

SHARES = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
"""Of what the server answers to `USERS` who ask again at once."""

USERS = 64
KEEPS_UP = 0.95
"""Of the requests that come in a second, answered in that second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """One rate on one target: requests a second that came, that were answered; seconds."""

    target: str
    wire: str
    rate: float
    answered: float
    latency_p50: float
    latency_p95: float
    first_token_p50: float | None
    first_token_p95: float | None

    @property
    def keeps_up(self) -> bool:
        """Whether the server answers what comes."""
        return self.answered >= KEEPS_UP * self.rate


async def climb(target: HTTPTarget, wire: str, requests: int, max_tokens: int) -> list[Arrivals]:
    """Each rate once, after a closed load that tells what is possible. Raises RuntimeError if a request fails."""
    most = await target.figures(Order(wire=wire, users=USERS, requests=requests, max_tokens=max_tokens))
    found, first = [], requests
    for share in SHARES:
        rate = share * most.requests_per_second
        order = Order(wire=wire, rate=rate, requests=requests, max_tokens=max_tokens, first=first)
        first += 2 * requests  # as many come as chance has it
        figures = await target.figures(order)
        assert figures.latency is not None
        token = figures.time_to_first_token
        found.append(
            Arrivals(
                target=target.name,
                wire=wire,
                rate=rate,
                answered=figures.requests_per_second,
                latency_p50=figures.latency.p50,
                latency_p95=figures.latency.p95,
                first_token_p50=token.p50 if token else None,
                first_token_p95=token.p95 if token else None,
            )
        )
    return found


def knee(arrivals: Sequence[Arrivals]) -> float:
    """The greatest rate, of those of one target, up to which it keeps up; 0 if it never does."""
    rate = 0.0
    for each in sorted(arrivals, key=lambda each: each.rate):
        if not each.keeps_up:
            break
        rate = each.rate
    return rate
