"""Open-loop load at growing rates, up to where a server does not keep up."""

from collections.abc import Sequence
from dataclasses import dataclass

from maritalk_vllm.tools.bench.latency_metrics import LatencyMetrics

from .load_order import LoadSpec
from .targets import HTTPTarget

SHARES = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
"""Rates as shares of the first server's closed-loop throughput with `USERS` users; the others get the same rates."""

USERS = 64
KEEPS_UP = 0.95
"""Minimum answered share of the arrival rate at which a server counts as keeping up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """One rate on one target. `rate` was requested, `came` arrived, `answered` completed: requests/s. Latencies: s."""

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
        """Whether the server answers requests as fast as they arrive."""
        return self.answered >= KEEPS_UP * self.came


async def max_throughput(target: HTTPTarget, wire: str, requests: int, max_tokens: int) -> float:
    """Closed-loop requests a second of the second run, once everything is warm. Raises RuntimeError."""
    for first in (0, requests):
        load_spec = LoadSpec(wire=wire, users=USERS, requests=requests, max_tokens=max_tokens, first=first)
        metrics = await target.metrics(load_spec)
    return metrics.requests_per_second


async def sweep(
    target: HTTPTarget, wire: str, rates: Sequence[float], requests: int, max_tokens: int
) -> list[Arrivals]:
    """Run each rate once. Raises RuntimeError if a request fails."""
    found = []
    for number, rate in enumerate(rates, 1):
        # Arrivals are random and may exceed `requests`: leave twice as many prompt numbers for each rate.
        load_spec = LoadSpec(
            wire=wire, rate=rate, requests=requests, max_tokens=max_tokens, first=2 * requests * number
        )
        run = await target.checked(load_spec)
        metrics = LatencyMetrics.of(run)
        assert metrics.latency is not None
        token = metrics.time_to_first_token
        found.append(
            Arrivals(
                target=target.name,
                wire=wire,
                rate=rate,
                came=_per_second([each.began for each in run.results]),
                answered=_per_second([each.ended for each in run.results]),
                latency_p50=metrics.latency.p50,
                latency_p95=metrics.latency.p95,
                first_token_p50=token.p50 if token else None,
                first_token_p95=token.p95 if token else None,
            )
        )
    return found


def _per_second(times: Sequence[float]) -> float:
    return (len(times) - 1) / (max(times) - min(times))


def knee(arrivals: Sequence[Arrivals]) -> float:
    """The highest rate up to which one target keeps up; 0 if it never does."""
    rate = 0.0
    for each in sorted(arrivals, key=lambda each: each.rate):
        if not each.keeps_up:
            break
        rate = each.rate
    return rate
