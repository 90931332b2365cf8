"""Prometheus metrics of the server itself, in the loading app and in the API process beside vLLM's own metrics."""

import asyncio
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
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DAY_SECONDS = 86_400


class _ServerCollector(Collector):
    """Collects the phase, startup timings, restarts, files, licence and memory.

    The phase is `maritalk_server_state{maritalk_server_state="ready"} 1.0`, and 0.0 for each other phase.
    """

    def __init__(self, state: ServerState, timings: StartupTimings) -> None:
        self._state = state
        self._timings = timings

    def collect(self) -> Iterator[Metric]:
        timings = self._timings
        phases = {phase.value: phase is self._state.phase for phase in Phase}
        yield StateSetMetricFamily("maritalk_server_state", "Current server phase: 1 for the active one.", phases)
        yield GaugeMetricFamily(
            "maritalk_server_start_time_seconds", "When the server was started, since 1970.", timings.server_start
        )
        steps = GaugeMetricFamily(
            "maritalk_start_seconds",
            "Duration of each phase of the last start; ready is the total.",
            labels=("phase",),
        )
        for step, seconds in dict(timings.seconds).items():  # a copy: the event loop may add one meanwhile
            steps.add_metric((step,), seconds)
        yield steps
        yield CounterMetricFamily(
            "maritalk_engine_restarts", "How often an engine that died was started again.", timings.restarts
        )
        files = GaugeMetricFamily(
            "maritalk_file_usable",
            "1 while a file or folder is in order, 0 while the server uses its last valid state instead.",
            labels=("file",),
        )
        for name, problem in self._state.files.items():
            files.add_metric((name,), float(not problem))
        yield files
        if timings.license_expires is not None:
            days_left = max(0.0, timings.license_expires - time.time()) / _DAY_SECONDS
            yield GaugeMetricFamily("maritalk_license_days_left", "Days until the licence ends.", days_left)
        memory = GaugeMetricFamily(
            "maritalk_process_resident_memory_bytes",
            "Memory of the server's processes, by kind; what they share counts in each.",
            labels=("process",),
        )
        for kind, size in resident_bytes(timings.supervisor).items():
            memory.add_metric((kind,), size)
        yield memory


def register(state: ServerState, timings: StartupTimings, registry: CollectorRegistry) -> None:
    """Register the metrics of the server itself."""
    registry.register(_ServerCollector(state, timings))


async def response(registry: CollectorRegistry) -> Response:
    """Return the response to GET /metrics while no engine answers it."""
    # In a thread: the memory of hundreds of processes and threads takes long to read.
    return Response(await asyncio.to_thread(generate_latest, registry), media_type=_CONTENT_TYPE)
