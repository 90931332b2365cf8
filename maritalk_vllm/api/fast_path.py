"""Dispatch requests for our own routes directly, bypassing vLLM's application."""

from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .base_route import MariTalkRoute

if TYPE_CHECKING:
    from fastapi import FastAPI


class FastPath:
    """ASGI middleware around vLLM's application, which adds six layers of middleware and forty routes to a request.

    Cross-origin requests still go through vLLM's application, which applies CORS; so do all requests if the user has
    added middleware of their own.
    """

    def __init__(self, inner: ASGIApp, app: "FastAPI", args: Namespace) -> None:
        """`inner` handles all other requests, `app` has the routes, `args` are vLLM's arguments."""
        self._inner = inner
        self._app = app
        is_customized = args.middleware or args.root_path or args.enable_request_id_headers
        self._routes = {
            (method, route.path): route
            for route in app.routes
            if isinstance(route, MariTalkRoute) and not is_customized
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. HEAD is handled as GET; the server omits the body."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None or is_cross_origin(scope["headers"]):
            await self._inner(scope, receive, send)
            return
        scope["app"] = self._app
        response = await route.answer(Request(scope, receive))
        await response(scope, receive, send)


def is_cross_origin(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a page of another origin sent the request. Browsers send `Origin` with each POST of our own page too."""
    origin = next((value for name, value in headers if name == b"origin"), None)
    if origin is None:
        return False
    return origin.partition(b"://")[2] != next((value for name, value in headers if name == b"host"), None)
