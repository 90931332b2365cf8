"""The ASGI layers that a request passes, outermost first, in the API process and in the loading server."""

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ...api.flex_queue import FlexQueue
from ...api.keep_alive import KeepAlive
from ...api.model_aliases import ModelNames
from ...api.openai_adapter import MaritacaAPI
from ...api.response_format import ResponseFormat
from ...api.service_tiers import ServiceTiers
from ...playground.page_middleware import Page
from ...settings import TimeUnit
from ..status.server_state import ServerState
from .access_config import AccessConfig
from .allowed_hosts import AllowedHosts, HostCheck
from .authentication import Authentication
from .batch_budget import BatchBudget
from .body_limits import BodyLimits
from .close_connections import CloseConnections
from .in_flight import InFlight, InFlightRequests
from .key_scopes import KeyScopes
from .probes import Probes
from .rate_limit import RateLimits, Usage
from .request_log import RequestLog
from .request_metrics import RequestMetrics
from .root_path import AddRootPath, RootPath
from .shared_usage import SharedUsage

if TYPE_CHECKING:
    from fastapi import FastAPI


class MiddlewareStack:
    """An application behind the layers that both servers have, whose settings can be replaced while it serves."""

    def __init__(
        self,
        app: ASGIApp,
        access: AccessConfig,
        state: ServerState,
        time_unit: TimeUnit,
        request_metrics: RequestMetrics,
        *,
        page: bool = True,
        is_loading: bool = False,
        is_demo: bool = False,
        max_answers: int | None = None,
        shared_usage: SharedUsage | None = None,
    ) -> None:
        """`page`: with the chat page. `is_loading`: `app` has no engine, and another process may answer later.

        `is_demo`: the demo model is served, as the page says.

        `max_answers`: how many answers the engine generates at once, over all keys; None without a limit.

        `shared_usage`: the usage of the keys that several API processes share; None for that of this process alone.
        """
        self._inner = app
        self._access = access
        self._state = state
        self._time_unit = time_unit
        self._request_metrics = request_metrics
        self._page = page
        self._is_loading = is_loading
        self._is_demo = is_demo
        self._max_answers = max_answers
        # What outlives a change of the settings.
        self._keys = access.keys
        self._usage = Usage(None, None, shared_usage)
        self.batch_budget = BatchBudget(self._usage)
        self._app = self._build(access)

    def _layers(self, access: AccessConfig) -> list[Middleware]:
        hosts = HostCheck(self._keys, access.host, access.allowed_hosts, access.origins)
        return [
            *_only(self._is_loading, Middleware(CloseConnections)),
            Middleware(RootPath, access.root_path),
            # Outside the request log: each view of the page loads forty files, which are not logged.
            *_only(
                self._page,
                Middleware(Page, self._time_unit, lambda scope: hosts.error(scope) is None, is_demo=self._is_demo),
            ),
            Middleware(RequestLog, self._request_metrics, logged=access.logged, traced=access.traced),
            Middleware(Probes, self._state),
            Middleware(AllowedHosts, hosts),
            Middleware(Authentication, self._keys, open_status=access.open_status),
            Middleware(KeyScopes),
            Middleware(RateLimits, self._usage, lambda: self._answers_per_key(access), has_engine=not self._is_loading),
            Middleware(BodyLimits, access.max_body_bytes),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request with the current settings."""
        await self._app(scope, receive, send)

    def update(self, access: AccessConfig) -> None:
        """Apply `access` to all later requests. The recorded usage of the keys is kept."""
        self._keys.update(access.digests, access.file_keys, access.own)
        if access.without_keys() != self._access.without_keys():
            self._app = self._build(access)
        self._access = access

    def _build(self, access: AccessConfig) -> ASGIApp:
        self._usage.set_limits(access.requests_per_minute, access.tokens_per_minute, access.batch_tokens_per_minute)
        return compose(self._inner, self._layers(access))

    def _answers_per_key(self, access: AccessConfig) -> int | None:
        """Half of the engine's answers by default, if there are several keys: none can keep the others waiting."""
        if access.answers_per_key is None and self._max_answers is not None and self._keys.are_several:
            return max(1, self._max_answers // 2)
        return access.answers_per_key


def engine_layers(
    app: "FastAPI",
    args: Namespace,
    in_flight: InFlightRequests,
    names: ModelNames,
    *,
    context_length: int,
    max_characters: int,
    max_answers: int | None,
    flex: FlexQueue,
) -> list[Middleware]:
    """Return the layers between a MiddlewareStack and `app`, vLLM's application with `args`, in the API process.

    `context_length`: in tokens; `max_characters`: of a prompt; `max_answers`: running and queued, or None.
    `flex`: where requests of this tier wait.
    """
    # Imported late: they import FastAPI, which the supervisor does without.
    from ...api.fast_path import FastPath
    from ...api.generation_routes import GenerationRoutes

    return [
        Middleware(InFlight, in_flight),
        Middleware(FastPath, app, args),
        Middleware(ResponseFormat),
        Middleware(KeepAlive),
        Middleware(MaritacaAPI, names, context_length, max_characters, max_answers),
        Middleware(ServiceTiers, flex),
        Middleware(AddRootPath, args.root_path or ""),
        Middleware(GenerationRoutes, app),
    ]


def compose(app: ASGIApp, layers: Sequence[Middleware]) -> ASGIApp:
    """Wrap `app` in `layers`, the outermost first."""
    for layer, arguments, named in reversed(layers):
        app = layer(app, *arguments, **named)
    return app


def _only(condition: bool, layer: Middleware) -> list[Middleware]:
    return [layer] if condition else []
