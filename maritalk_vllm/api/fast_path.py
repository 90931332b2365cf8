"""The way past vLLM's application, for requests to our own routes: nothing of it has a part in them."""

from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .base_route import MariTalkRoute
from .keep_alive import KeptAlive
from .response_format import in_our_form

if TYPE_CHECKING:
    from fastapi import FastAPI


class FastPath:
    """ASGI middleware around vLLM's application. By it, a request would go through six layers and forty routes more.

    Pages of other sites go that way, where CORS is; and everybody, where the user has put layers of their own in it.
    """

    def __init__(self, app: "FastAPI", args: Namespace, inside: ASGIApp) -> None:
        """`app` has the routes, `inside` answers everything else, and `args` are vLLM's."""
        self._app = app
        self._inside = inside
        own = args.middleware or args.root_path or args.enable_request_id_headers
        self._routes = {
            (method, route.path): route
            for route in app.routes
            if isinstance(route, MariTalkRoute) and not own
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through. HEAD is answered as GET; the server sends no body then."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None or _is_from_elsewhere(scope["headers"]):
            await self._pass_on(scope, receive, send)
            return
        scope["app"] = self._app
        answer = await route.answer(Request(scope, receive))
        await answer(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inside(scope, receive, send)
            return
        alive = KeptAlive(in_our_form(scope, send))
        try:
            await self._inside(scope, receive, alive)
        finally:
            alive.stop()


def _is_from_elsewhere(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether another site's page asks. Browsers say where a page is from, with each POST of our own page too."""
    origin = next((value for name, value in headers if name == b"origin"), None)
    if origin is None:
        return False
    return origin.partition(b"://")[2] != next((value for name, value in headers if name == b"host"), None)
