"""Prometheus metrics of the requests to this process, each counted once, when it ends."""

from http import HTTPStatus
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import Scope

from ...engine.request_context import RequestContext
from ...engine.request_usage import UsageTotals
from ...engine.resilient_core import KILLS_ENGINES_REASON
from ..status.server_metrics import PATH
from ..status.server_state import Phase, ServerState
from .probes import PROBES
from .route_labels import RouteLabels

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_UNCOUNTED = {*PROBES, PATH}
"""Monitoring endpoints, which are not counted as requests."""

_BY_STATUS: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "foreign",
    HTTPStatus.REQUEST_TIMEOUT: "too_slow",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "quota",
}
_BY_PHASE = {
    Phase.LOADING: "loading",
    Phase.READY: "overloaded",
    Phase.DRAINING: "draining",
    Phase.FAILED: "failed",
}
"""Reason of a 503 response, by the phase of the server."""

_REASONS = (KILLS_ENGINES_REASON, "no_key", "wrong_key", "bad_request", *_BY_STATUS.values(), *_BY_PHASE.values())

HUNG_UP = "hung_up"
"""The status label of a request whose client disconnected before the response."""


class _Children(NamedTuple):
    """The metrics for one combination of labels."""

    requests: Counter
    seconds: Histogram
    first_byte_seconds: Histogram
    prompt_tokens: Counter
    answer_tokens: Counter


class RequestMetrics:
    """The request metrics of one process. They restart at 0 with the process, which Prometheus' `rate` allows for."""

    def __init__(self, registry: CollectorRegistry, routes: RouteLabels, state: ServerState) -> None:
        self._routes = routes
        self._state = state
        self._requests = Counter(
            "maritalk_requests",
            "Finished requests, by route, method, status and API key: its name, or the first digits of its SHA-256.",
            ("route", "method", "status", "key"),
            registry=registry,
        )
        rejected = Counter("maritalk_refused", "Rejected requests, by reason.", ("reason",), registry=registry)
        self._seconds = Histogram(
            "maritalk_request_seconds",
            "End-to-end latency of successful requests, first byte received to last byte sent.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_byte_seconds = Histogram(
            "maritalk_request_first_byte_seconds",
            "Time to the first byte of a response body.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "maritalk_tokens", "Tokens of prompts and of answers, by API key.", ("kind", "key"), registry=registry
        )
        # Every reason starts at 0: Prometheus sees no increase in a series that first appears with 1.
        self._rejected = {reason: rejected.labels(reason) for reason in _REASONS}
        self._children: dict[tuple[str, str, int, str], _Children] = {}

    def add(self, scope: Scope, context: RequestContext, figures: UsageTotals, seconds: float) -> None:
        """Count one finished request, which took `seconds`. Its status is 0 if the client left before the response."""
        if scope["path"] in _UNCOUNTED:
            return
        status = context.status
        # The labels contain nothing that a client can choose freely, so the number of combinations is bounded.
        labels = (self._routes.label_of(scope["path"]), _method(scope), status, context.key_name)
        children = self._children.get(labels)
        if children is None:
            children = self._children[labels] = self._create_children(*labels)
        children.requests.inc()
        if status >= HTTPStatus.BAD_REQUEST or context.reason:
            if reason := self.reason(context):
                self._rejected[reason].inc()
        elif status:
            children.seconds.observe(seconds)
            if context.first_byte_seconds is not None:
                children.first_byte_seconds.observe(context.first_byte_seconds)
        if figures.prompt_tokens:
            children.prompt_tokens.inc(figures.prompt_tokens)
            children.answer_tokens.inc(figures.completion_tokens)

    def _create_children(self, route: str, method: str, status: int, key: str) -> _Children:
        return _Children(
            self._requests.labels(route, method, str(status or HUNG_UP), key),
            self._seconds.labels(route),
            self._first_byte_seconds.labels(route),
            self._tokens.labels("prompt", key),
            self._tokens.labels("answer", key),
        )

    def reason(self, context: RequestContext) -> str:
        """Return why a request was rejected; empty if it was not, and for an internal error."""
        status = context.status
        if context.reason:
            return context.reason
        if status < HTTPStatus.BAD_REQUEST:
            return ""
        if status == HTTPStatus.UNAUTHORIZED:
            return "wrong_key" if context.has_key else "no_key"
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return _BY_PHASE[self._state.phase]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ""
        return _BY_STATUS.get(status, "bad_request")


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"
