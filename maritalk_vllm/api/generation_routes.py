"""Dispatch requests for vLLM's generation routes directly, bypassing most layers of its application."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .cancellation import ClientDisconnected, cancel_on_disconnect
from .fast_path import is_cross_origin
from .media_types import JSON
from .openai_adapter import replay_body
from .request_parsing import PARSED_BODY

if TYPE_CHECKING:
    from fastapi import FastAPI

_Endpoint = Callable[..., Awaitable[Response]]

_ERROR = "maritalk.error"
"""Entry of the ASGI scope with the error of a route's function, for the handlers of exceptions."""

_UNNEEDED_MIDDLEWARE = {
    "starlette.middleware.cors.CORSMiddleware",  # does nothing for requests of the same origin
    "prometheus_fastapi_instrumentator.middleware.PrometheusInstrumentatorMiddleware",  # counts, as our metrics do
    "vllm.entrypoints.serve.elastic_ep.middleware.ScalingMiddleware",  # the route that starts to scale is not offered
}
"""vLLM's middleware that requests of the same origin for these routes can do without."""

_DECORATORS = ["with_cancellation.<locals>.wrapper", "load_aware_call.<locals>.wrapper"]
"""vLLM's decorators of these routes. The first makes two tasks to notice a disconnect, the second tracks the load."""


class GenerationRoutes:
    """ASGI middleware around vLLM's application.

    With chat completions of a small model, the application's own layers take a tenth of the API process's time. This
    class calls the function of a route as the application would, with a valid body, and passes its exceptions to the
    same handlers. The application still answers requests with an invalid body and those of another origin, and all of
    them if it has middleware or a route has decorators that are not known here.
    """

    def __init__(self, inner: ASGIApp, app: "FastAPI") -> None:
        """`inner` handles all other requests, `app` has the routes."""
        self._inner = inner
        self._app = app
        self._routes = {} if _is_customized(app) else dict(generation_routes(app))
        handlers = dict(app.exception_handlers)
        on_error = handlers.pop(Exception, None)
        self._handle_error = ServerErrorMiddleware(ExceptionMiddleware(_fail, handlers=handlers), handler=on_error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        route = self._routes.get(scope["path"]) if is_post else None
        if route is None or is_cross_origin(scope["headers"]):
            await self._inner(scope, receive, send)
            return
        model, endpoint = route
        scope = {**scope, "app": self._app}
        request = Request(scope, receive)
        raw = await request.body()
        try:
            body = model.model_validate(_json(request, raw))
        except Exception:  # noqa: BLE001  (the application finds the same fault, and responds)
            await self._inner(scope, replay_body(raw, receive), send)
            return
        with contextlib.suppress(ClientDisconnected):
            await cancel_on_disconnect(scope, receive, self._respond(endpoint(body, request), scope, receive, send))

    async def _respond(self, work: Awaitable[Response], scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response of a route's function, or that of a handler of its exception."""
        try:
            response = await _uncaught(work)
        except Exception as error:  # noqa: BLE001  (the handlers raise it again where the application would)
            await self._handle_error({**scope, _ERROR: error}, receive, send)
            return
        if not isinstance(response, StreamingResponse):
            await response(scope, receive, send)
            return
        # Its `__call__` would make two tasks to notice a disconnect, and leave the body to the garbage collector, which
        # ends the engine's work for an abandoned stream.
        try:
            await response.stream_response(send)
        finally:
            if (close := getattr(response.body_iterator, "aclose", None)) is not None:
                await close()


async def _fail(scope: Scope, _receive: Receive, _send: Send) -> None:
    """The ASGI application that fails with the error in the scope."""
    error: Exception = scope[_ERROR]
    raise error


async def _uncaught(work: Awaitable[Response]) -> Response:
    """Return the result of `work`. Raises CancelledError if it was cancelled, also if it caught that, as vLLM does.

    vLLM then returns an error that says that the client has disconnected; it may be the server that ends the request.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        return await work
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


def _is_customized(app: "FastAPI") -> bool:
    """Whether requests need the layers of the application."""
    middleware = {f"{layer.cls.__module__}.{layer.cls.__qualname__}" for layer in app.user_middleware}  # type: ignore[attr-defined]
    tracks_load = getattr(app.state, "enable_server_load_tracking", False)
    return bool(middleware - _UNNEEDED_MIDDLEWARE or app.root_path or tracks_load)


def generation_routes(app: "FastAPI") -> Iterator[tuple[str, tuple[type[BaseModel], _Endpoint]]]:
    """The paths of the routes, each with the type of its body and its function."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or route.methods != {"POST"} or route.body_field is None:
            continue
        endpoint, decorators = route.endpoint, []
        while hasattr(endpoint, "__wrapped__"):
            decorators.append(endpoint.__code__.co_qualname)
            endpoint = endpoint.__wrapped__
        checks = [getattr(each.dependency, "__name__", "") for each in route.dependencies]
        names = [parameter.name for parameter in route.dependant.body_params]
        model = route.body_field.field_info.annotation
        is_known = decorators == _DECORATORS and checks == ["validate_json_request"] and names == ["request"]
        if is_known and isinstance(model, type) and issubclass(model, BaseModel):
            yield route.path, (model, endpoint)


def _json(request: Request, raw: bytes) -> Any:  # noqa: ANN401
    """The body of a request. Raises ValueError if its type is not JSON, as vLLM's `validate_json_request` does."""
    if request.headers.get("content-type", "").lower().partition(";")[0] != JSON:
        raise ValueError("The type of the body is not JSON.")
    return request.scope[PARSED_BODY] if PARSED_BODY in request.scope else json.loads(raw)
