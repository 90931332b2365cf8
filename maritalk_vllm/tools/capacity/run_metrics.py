"""What a run comes to: the slowest twentieth, and how full the replica was."""

from dataclasses import dataclass

from ..bench.latency_metrics import Percentiles
from .simulate import Run
from .simulated_request import SimulatedRequest

_QUEUED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """Of one replica; seconds, requests and tokens. Spreads are None where nothing was answered.

    `running` requests at once on average, `busy` share of the time with a step under way, `cached` the most tokens of
    KV cache.
    """

    requests_per_second: float
    latency: Percentiles | None
    first_token: Percentiles | None
    queue: Percentiles | None
    running: float
    busy: float
    cached: int
    preemptions: int

    @property
    def p95(self) -> float:
        """Seconds within which 95 of 100 answers are there; without end where there are none."""
        return self.latency.p95 if self.latency else float("inf")

    @property
    def queues(self) -> bool:
        """Whether waiting for others is a good part of what the slowest wait: more may come than is answered."""
        return bool(self.queue and self.queue.p95 > _QUEUED * self.p95)


def figures(run: Run, warm: float, until: float) -> RunMetrics:
    """Of what was asked from `warm` on, in seconds; the replica's own over all of the run."""
    counted = [request for request in run.answered if request.asked >= warm]
    return RunMetrics(
        requests_per_second=sum(1 for each in run.answered if _ended(each) >= warm) / (until - warm),
        latency=Percentiles.of(each.latency for each in counted),
        first_token=Percentiles.of(each.first_token for each in counted),
        queue=Percentiles.of(_queued(each) for each in counted),
        running=run.used.running_seconds / until,
        busy=min(1.0, run.used.seconds / until),
        cached=run.used.most_cached,
        preemptions=run.used.preemptions,
    )


def _ended(request: SimulatedRequest) -> float:
    return request.ended or 0.0


def _queued(request: SimulatedRequest) -> float | None:
    return None if request.began is None else request.began - request.asked
