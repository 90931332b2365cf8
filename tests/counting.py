"""A tally of its own for each test, and what its registry tells."""

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from maritalk_vllm.server.middleware.request_metrics import RequestMetrics
from maritalk_vllm.server.middleware.route_labels import OWN, RouteLabels
from maritalk_vllm.server.status.server_state import ServerState


def request_metrics(state: ServerState | None = None) -> RequestMetrics:
    """One that nobody reads."""
    return RequestMetrics(CollectorRegistry(), RouteLabels(OWN), state or ServerState())


def generated(tokens: int) -> Any:
    """What vLLM keeps of an answer that has so many tokens."""
    times = dict.fromkeys(("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts"), 0.0)
    return SimpleNamespace(num_generation_tokens=tokens, **times)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample as Prometheus reads it, by its name and its sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
