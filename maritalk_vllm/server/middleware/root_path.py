"""The path below which a proxy serves the server: vLLM's `--root-path`, applied to every route."""

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


class RootPath:
    """Outermost ASGI middleware. It removes the root from each path, unless the proxy has done so."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        """`root_path`: a path such as `/models/a`, or empty."""
        self._app = app
        self._root = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, without the root in its path."""
        if not self._root or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path == self._root and scope.get("method") in ("GET", "HEAD"):
            # Relative URLs resolve below the root only if it ends in a slash.
            location = f"{self._root.rpartition('/')[2]}/"
            await Response(status_code=307, headers={"Location": location})(scope, receive, send)
            return
        if path == self._root or path.startswith(f"{self._root}/"):
            path = path[len(self._root) :] or "/"
            raw = scope.get("raw_path") or b""
            root = self._root.encode()
            raw = (raw[len(root) :] or b"/") if raw.startswith(root) else path.encode()
            scope = {**scope, "path": path, "raw_path": raw}
        await self._app(scope, receive, send)


class AddRootPath:
    """ASGI middleware around vLLM's application, which has the same root and expects it in each path."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root = root_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, with the root prepended to its path."""
        if self._root and scope["type"] == "http":
            raw = scope.get("raw_path") or scope["path"].encode()
            scope = {**scope, "path": self._root + scope["path"], "raw_path": self._root.encode() + raw}
        await self._app(scope, receive, send)
