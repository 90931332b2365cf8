"""Metrics of a simulated run: latency percentiles and the replica's utilization."""

from dataclasses import dataclass

from ..bench.latency_metrics import Percentiles
from .simulate import SimulationRun
from .simulated_request import SimulatedRequest

_MAX_QUEUE_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """Metrics of one replica, in seconds, requests and tokens. Percentiles are None where nothing was answered.

    `running` is the average number of concurrent requests, `busy` the share of time with a step in progress, `cached`
    the peak of the KV cache in tokens.
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
        """95th percentile of latency in seconds; infinity where nothing was answered."""
        return self.latency.p95 if self.latency else float("inf")

    @property
    def queues(self) -> bool:
        """Whether queueing is a large part of the p95 latency: the arrival rate may exceed the throughput."""
        return bool(self.queue and self.queue.p95 > _MAX_QUEUE_SHARE * self.p95)


def compute_metrics(run: SimulationRun, warm: float, until: float) -> RunMetrics:
    """Metrics of requests that arrived after `warm` seconds; the replica's utilization is over the whole run."""
    counted = [request for request in run.answered if request.arrived >= warm]
    return RunMetrics(
        requests_per_second=sum(1 for each in run.answered if _finish_time(each) >= warm) / (until - warm),
        latency=Percentiles.of(each.latency for each in counted),
        first_token=Percentiles.of(each.time_to_first_token for each in counted),
        queue=Percentiles.of(_queue_seconds(each) for each in counted),
        running=run.stats.running_seconds / until,
        busy=min(1.0, run.stats.seconds / until),
        cached=run.stats.most_cached,
        preemptions=run.stats.preemptions,
    )


def _finish_time(request: SimulatedRequest) -> float:
    return request.finished or 0.0


def _queue_seconds(request: SimulatedRequest) -> float | None:
    return None if request.started is None else request.started - request.arrived
