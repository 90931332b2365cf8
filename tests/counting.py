"""Request metrics with a registry of their own for each test, and a parser of the metrics text."""

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Receive, Scope, Send

from maritalk_vllm.engine.request_context import CONTEXT, RequestContext
from maritalk_vllm.server.middleware.request_metrics import RequestMetrics
from maritalk_vllm.server.middleware.route_labels import OWN, RouteLabels
from maritalk_vllm.server.status.server_state import ServerState


def request_metrics(state: ServerState | None = None) -> RequestMetrics:
    """New request metrics, in a registry that nothing else uses."""
    return RequestMetrics(CollectorRegistry(), RouteLabels(OWN), state or ServerState())


def with_context(app: ASGIApp) -> ASGIApp:
    """Wrap a layer that is tested without the request log, which gives each request its context."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CONTEXT] = RequestContext()
        await app(scope, receive, send)

    return wrapped


def generated(tokens: int) -> Any:
    """vLLM's statistics of a finished request that generated `tokens` tokens."""
    times = dict.fromkeys(("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts"), 0.0)
    return SimpleNamespace(num_generation_tokens=tokens, **times)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Parse the metrics text as Prometheus does. Keys: the name and the sorted labels of each sample."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
