"""`GET /chat` and its files, answered in every state."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..settings import TimeUnit
from .security_headers import SECURITY
from .static_files import files

PAGE = "/chat"
SERVER = f"{PAGE}/server.json"


class Page:
    """ASGI middleware: the page and its files, for GET and HEAD. They hold no secret: they need no key.

    What else lies below `/chat` is the API's, and goes through. A browser that asks for `/` is sent to the page.
    """

    def __init__(self, app: ASGIApp, time_unit: TimeUnit, admits: Callable[[Scope], bool] = lambda _: True) -> None:
        """`time_unit`: of the times in the API's answers, which a 0 does not show; `admits`: requests that get it."""
        self._app = app
        self._admits = admits
        self._files = {PAGE if name == "index.html" else f"{PAGE}/{name}": file for name, file in files().items()}
        self._server = {"time_unit": time_unit}

    @property
    def paths(self) -> frozenset[str]:
        """All that is answered here, beside a browser's `/`."""
        return frozenset({*self._files, SERVER})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file, or let the request through."""
        answer = self._answer(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        if answer is not None and not self._admits(scope):
            answer = None
        await (answer or self._app)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        path, headers = scope["path"], Headers(raw=scope["headers"])
        if path == "/" and _reads_html(headers):
            # Relative: a proxy may have put the server below a path of its own.
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
"""Asked for each time, and sent only when it has changed: a newer server never runs an older page."""


def _reads_html(headers: Headers) -> bool:
    """Whether a client names HTML among what it takes, as browsers do and programs do not."""
    kinds = (part.partition(";")[0].strip().lower() for part in headers.get("accept", "").split(","))
    return "text/html" in kinds


def _strong(etag: str) -> str:
    """An ETag without the mark that a proxy puts before it when it has packed the content."""
    return etag.strip().removeprefix("W/")
