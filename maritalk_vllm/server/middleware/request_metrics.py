"""What was asked of this process, and what came of it, as metrics: counted once, when a request is over."""

from http import HTTPStatus
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import Scope

from ...engine.request_usage import UsageTotals
from ..status.server_metrics import PATH
from ..status.server_state import Phase, ServerState
from .api_keys import KEY, KEY_NAME
from .probes import PROBES
from .route_labels import RouteLabels

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_UNCOUNTED = {*PROBES, PATH}
"""Asked by those who watch, and no work."""

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
"""Why a server that is at this refuses what it would take at another time."""

_REASONS = ("no_key", "wrong_key", "bad_request", *_BY_STATUS.values(), *_BY_PHASE.values())

HUNG_UP = "hung_up"
"""The status of a request whose client was gone before there was an answer."""


class _Counted(NamedTuple):
    """The metrics of all requests that are alike."""

    requests: Counter
    seconds: Histogram
    first_byte: Histogram
    prompt: Counter
    answer: Counter


class RequestMetrics:
    """The counters of one process: with the process they begin at 0, which Prometheus' `rate` knows of."""

    def __init__(self, registry: CollectorRegistry, routes: RouteLabels, state: ServerState) -> None:
        self._routes = routes
        self._state = state
        self._requests = Counter(
            "maritalk_requests",
            "Requests that are over, by route, method, status and their API key's name, or its SHA-256's first digits.",
            ("route", "method", "status", "key"),
            registry=registry,
        )
        self._refused = Counter(
            "maritalk_refused", "Requests that were not taken, by reason.", ("reason",), registry=registry
        )
        self._seconds = Histogram(
            "maritalk_request_seconds",
            "How long requests took that were answered, from their first byte to the last of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_byte = Histogram(
            "maritalk_request_first_byte_seconds",
            "How long it took until the first byte of an answer's body.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "maritalk_tokens", "Tokens of prompts and of answers, by API key.", ("kind", "key"), registry=registry
        )
        # From 0 on: an increase from nothing at all is none to Prometheus.
        self._refusals = {reason: self._refused.labels(reason) for reason in _REASONS}
        self._known: dict[tuple[str, str, int, str], _Counted] = {}

    def add(self, scope: Scope, status: int, figures: UsageTotals, seconds: float, first_byte: float | None) -> None:
        """One request is over. `status` 0: there was nobody to answer; `first_byte`: seconds until it, if there was."""
        if scope["path"] in _UNCOUNTED:
            return
        # Nothing of what a client makes up is in it: their number has a bound.
        alike = (self._routes.of(scope["path"]), _method(scope), status, scope.get(KEY_NAME, ""))
        counted = self._known.get(alike)
        if counted is None:
            counted = self._known[alike] = self._counted(*alike)
        counted.requests.inc()
        if status >= HTTPStatus.BAD_REQUEST:
            if reason := self._reason(scope, status):
                self._refusals[reason].inc()
        elif status:
            counted.seconds.observe(seconds)
            if first_byte is not None:
                counted.first_byte.observe(first_byte)
        if figures.prompt_tokens:
            counted.prompt.inc(figures.prompt_tokens)
            counted.answer.inc(figures.completion_tokens)

    def _counted(self, route: str, method: str, status: int, key: str) -> _Counted:
        return _Counted(
            self._requests.labels(route, method, str(status or HUNG_UP), key),
            self._seconds.labels(route),
            self._first_byte.labels(route),
            self._tokens.labels("prompt", key),
            self._tokens.labels("answer", key),
        )

    def _reason(self, scope: Scope, status: int) -> str:
        """Why it was not taken; nothing for what went wrong on our side."""
        if status == HTTPStatus.UNAUTHORIZED:
            # The door looks for a key alone where one was sent.
            return "wrong_key" if KEY in scope else "no_key"
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return _BY_PHASE[self._state.phase]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return ""
        return _BY_STATUS.get(status, "bad_request")


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"
