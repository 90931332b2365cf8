"""Serves `GET /chat` and its files, in every phase of the server."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..models.demo_model import NOTICE
from ..settings import TimeUnit
from .static_files import files

PAGE = "/chat"
SERVER = f"{PAGE}/server.json"

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    # HTML is accepted only from the sanitizer, through its Trusted Types policy.
    "require-trusted-types-for": "'script'",
    "trusted-types": "dompurify",
}

SECURITY = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Security headers, so that neither the page nor a model's output can contact other sites."""


class Page:
    """ASGI middleware for the page and its files, for GET and HEAD. They contain no secret, so they need no key.

    Other paths below `/chat` belong to the API and pass through. A browser that requests `/` is redirected to the page.
    """

    def __init__(
        self,
        app: ASGIApp,
        time_unit: TimeUnit,
        admits: Callable[[Scope], bool] = lambda _: True,
        *,
        is_demo: bool = False,
    ) -> None:
        """`time_unit` is the unit of the API's times. `admits` selects the requests that the page may answer.

        `is_demo`: the demo model is served, and the page shows its notice.
        """
        self._app = app
        self._admits = admits
        self._files = {PAGE if name == "index.html" else f"{PAGE}/{name}": file for name, file in files().items()}
        self._server = {"time_unit": time_unit, "demo": NOTICE if is_demo else None}

    @property
    def paths(self) -> frozenset[str]:
        """All paths that this middleware answers, except a browser's `/`."""
        return frozenset({*self._files, SERVER})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with a file, or pass the request on."""
        response = self._response(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        if response is not None and not self._admits(scope):
            response = None
        await (response or self._app)(scope, receive, send)

    def _response(self, scope: Scope) -> Response | None:
        path, headers = scope["path"], Headers(raw=scope["headers"])
        if path == "/" and _reads_html(headers):
            # Relative, since a proxy may serve this server below a path prefix.
            return Response(status_code=307, headers={"Location": "chat", "Vary": "Accept", **_FRESH})
        if path == SERVER:
            return JSONResponse(self._server, headers=_FRESH)
        file = self._files.get(path)
        if file is None:
            return None
        cached = {"ETag": file.etag, **_FRESH}
        if file.etag in map(_strong, headers.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=cached)
        return Response(file.content, headers=cached, media_type=file.media_type)


_FRESH = {"Cache-Control": "no-cache", **SECURITY}
"""Revalidated on each use, so that a newer server never runs with a cached older page."""


def _reads_html(headers: Headers) -> bool:
    """Whether the Accept header lists HTML, as browsers send it and other programs do not."""
    kinds = (part.partition(";")[0].strip().lower() for part in headers.get("accept", "").split(","))
    return "text/html" in kinds


def _strong(etag: str) -> str:
    """An ETag without the weak mark `W/`, which a proxy adds when it compresses the content."""
    return etag.strip().removeprefix("W/")
