"""Dispatch requests for vLLM's two busiest routes directly, bypassing FastAPI's layers and vLLM's middleware."""

import asyncio
import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .cancellation import ClientDisconnected, cancel_on_disconnect
from .fast_path import is_cross_origin
from .media_types import JSON
from .openai_adapter import replay_body
from .openai_dialect import CHAT, COMPLETIONS

if TYPE_CHECKING:
    from fastapi import FastAPI

_Endpoint = Callable[..., Awaitable[Response]]

_USUAL_MIDDLEWARE = {"CORSMiddleware", "PrometheusInstrumentatorMiddleware", "ScalingMiddleware"}
"""Classes of vLLM's middleware that same-origin requests for these routes can do without."""


class GenerationRoutes:
    """ASGI middleware around vLLM's application, whose layers take a tenth of a request's processor time.

    It calls the function of a route as the application would: with a valid body, and with the application's handlers of
    exceptions. The application itself answers requests with an invalid body and cross-origin requests; and all of them
    if it has more middleware than usual, as for a user's own. Its metrics `http_*` lack the requests that bypass it.
    """

    def __init__(self, inner: ASGIApp, app: "FastAPI") -> None:
        """`inner` handles all other requests, `app` has the routes."""
        self._inner = inner
        self._app = app
        self._routes = {} if _is_customized(app) else dict(_generation_routes(app))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        route = self._routes.get(scope["path"]) if is_post else None
        if route is None or is_cross_origin(scope["headers"]):
            await self._inner(scope, receive, send)
            return
        model, endpoint = route
        scope["app"] = self._app
        request = Request(scope, receive)
        raw = await request.body()
        try:
            body = model.model_validate(_json(request, raw))
        except Exception:  # noqa: BLE001  (the application finds the same fault, and responds)
            await self._inner(scope, replay_body(raw, receive), send)
            return
        with contextlib.suppress(ClientDisconnected):
            await cancel_on_disconnect(receive, self._respond(endpoint, body, request, send))

    async def _respond(self, endpoint: _Endpoint, body: BaseModel, request: Request, send: Send) -> None:
        try:
            response = await _uncaught(endpoint(body, raw_request=request))
        except Exception as error:
            kind = next(kind for kind in type(error).__mro__ if kind in self._app.exception_handlers)
            response = await self._app.exception_handlers[kind](request, error)  # type: ignore[misc]
            await response(request.scope, request.receive, send)
            if kind is Exception:  # the server logs what nothing else handles
                raise
            return
        if isinstance(response, StreamingResponse):
            # Its own `__call__` makes two tasks to notice a disconnect.
            await response.stream_response(send)
        else:
            await response(request.scope, request.receive, send)


def _is_customized(app: "FastAPI") -> bool:
    """Whether requests need the layers of the application."""
    middleware = {getattr(layer.cls, "__name__", "") for layer in app.user_middleware}
    return bool(
        middleware - _USUAL_MIDDLEWARE or app.root_path or getattr(app.state, "enable_server_load_tracking", False)
    )


def _generation_routes(app: "FastAPI") -> Iterator[tuple[str, tuple[type[BaseModel], _Endpoint]]]:
    """The paths of the routes, with the type of their body and their function, if that is called as expected."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.path in (CHAT, COMPLETIONS):
            # Without vLLM's decorators: one makes two tasks to notice a disconnect, the other tracks the load.
            endpoint = inspect.unwrap(route.endpoint)
            parameters = inspect.signature(endpoint, eval_str=True).parameters
            if list(parameters) == ["request", "raw_request"]:
                yield route.path, (parameters["request"].annotation, endpoint)


async def _uncaught(work: Awaitable[Response]) -> Response:
    """Return the result of `work`. Raises CancelledError if it was cancelled, also if it caught that, as vLLM does.

    vLLM then returns an error that says that the client has disconnected; it may be the server that ends the request.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    result = await work
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def _json(request: Request, raw: bytes) -> Any:  # noqa: ANN401
    """The body of a request. Raises ValueError if its type is not JSON."""
    if request.headers.get("content-type", "").lower().partition(";")[0] != JSON:
        raise ValueError("The type of the body is not JSON.")
    return json.loads(raw)
