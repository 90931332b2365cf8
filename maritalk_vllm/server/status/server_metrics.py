"""What the server tells of itself as metrics, whoever answers: the gate, or vLLM with all of its own beside it."""

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, StateSetMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from .process_memory import resident_bytes
from .server_state import Phase, ServerState
from .startup_timings import StartupTimings

PATH = "/metrics"
_KIND = "text/plain; version=0.0.4; charset=utf-8"
_DAY_SECONDS = 86_400


class _Server(Collector):
    """`maritalk_server_state{maritalk_server_state="ready"} 1.0`, 0.0 for each other phase, and how it came to it."""

    def __init__(self, state: ServerState, history: StartupTimings) -> None:
        self._state = state
        self._history = history

    def collect(self) -> Iterator[Metric]:
        history = self._history
        phases = {phase.value: phase is self._state.phase for phase in Phase}
        yield StateSetMetricFamily("maritalk_server_state", "What the server is at.", phases)
        yield GaugeMetricFamily(
            "maritalk_server_start_time_seconds", "When the server was started, since 1970.", history.server_start
        )
        steps = GaugeMetricFamily(
            "maritalk_start_seconds",
            "How long each phase of the last start took; ready is all of it.",
            labels=("phase",),
        )
        for step, seconds in history.seconds.items():
            steps.add_metric((step,), seconds)
        yield steps
        yield CounterMetricFamily(
            "maritalk_engine_restarts", "How often an engine that died was started again.", history.restarts
        )
        files = GaugeMetricFamily(
            "maritalk_file_usable",
            "1 while a file or folder is in order, 0 while the server goes on without it, by what was good last.",
            labels=("file",),
        )
        for name, problem in self._state.files.items():
            files.add_metric((name,), float(not problem))
        yield files
        if history.license_expires is not None:
            left = max(0.0, history.license_expires - time.time()) / _DAY_SECONDS
            yield GaugeMetricFamily("maritalk_license_days_left", "Days until the licence ends.", left)
        memory = GaugeMetricFamily(
            "maritalk_process_resident_memory_bytes",
            "Memory of the server's processes, by kind; what they share counts in each.",
            labels=("process",),
        )
        for kind, size in resident_bytes(history.supervisor).items():
            memory.add_metric((kind,), size)
        yield memory


def register(state: ServerState, history: StartupTimings, registry: CollectorRegistry) -> None:
    """Add it to what a registry has."""
    registry.register(_Server(state, history))


def response(registry: CollectorRegistry) -> Response:
    """All that a registry has, where there is no engine to answer."""
    return Response(generate_latest(registry), media_type=_KIND)
