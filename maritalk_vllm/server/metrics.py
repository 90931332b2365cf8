"""The server's state as a metric, whoever answers: the gate, or vLLM with all of its own beside it."""

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import StateSetMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from .state import Phase, State

PATH = "/metrics"
_KIND = "text/plain; version=0.0.4; charset=utf-8"


class _States(Collector):
    """`maritalk_server_state{maritalk_server_state="ready"} 1.0`, and 0.0 for each other phase."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        phases = {phase.value: phase is self._state.phase for phase in Phase}
        yield StateSetMetricFamily("maritalk_server_state", "What the server is at.", phases)


def register(state: State) -> None:
    """Add it to what this process tells of itself."""
    REGISTRY.register(_States(state))


def response(state: State) -> Response:
    """All that is told while there is no engine."""
    registry = CollectorRegistry()
    registry.register(_States(state))
    return Response(generate_latest(registry), media_type=_KIND)
