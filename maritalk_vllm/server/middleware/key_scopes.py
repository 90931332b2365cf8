"""The scope of an API key: everything that the server offers, or, with `scope: metrics` in its file, metrics alone."""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...errors import EngineError, Forbidden, NoSuchRoute
from ..status import server_metrics
from .api_keys import KEY, KEY_NAME, KEY_SCOPE

METRICS = "metrics"
"""The scope of a key for Prometheus: it reads the metrics of all keys, and generates nothing."""

_LABEL = re.compile(rb'[{,]key="((?:[^"\\]|\\.)*)"')
_SHOWN = 100
"""Characters of a path that an error repeats."""

_ESCAPES = {b"\\\\": b"\\", b'\\"': b'"', b"\\n": b"\n"}


class KeyScopes:
    """ASGI middleware behind the door. A key without a scope sees of the metrics by key its own alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, if its key is for it."""
        if scope["type"] != "http" or scope.get(KEY) is None:
            await self._app(scope, receive, send)
            return
        given, path = scope.get(KEY_SCOPE, ""), scope["path"]
        is_metrics = path == server_metrics.PATH
        if given and not (given == METRICS and is_metrics and scope["method"] in ("GET", "HEAD")):
            why = f"This API key is for GET {server_metrics.PATH} alone."
            if given != METRICS:
                why = f"There is no scope {given!r}, which this API key has in its file; the only one is {METRICS}."
            await error_response(path, Forbidden(why, "Use another key."))(scope, receive, send)
        elif path.startswith(server_metrics.PATH) and not is_metrics:
            # vLLM answers every such path with its metrics.
            error = NoSuchRoute(f"There is no route {path[:_SHOWN]}.", f"The metrics are at {server_metrics.PATH}.")
            await error_response(path, error)(scope, receive, send)
        elif is_metrics and not given:
            # By every method, which vLLM's metrics ignore. Compressed metrics cannot be filtered.
            headers = [each for each in scope["headers"] if each[0].lower() != b"accept-encoding"]
            own = _Own(send, scope.get(KEY_NAME, ""))
            await self._app({**scope, "headers": headers}, receive, own.send)
            await own.finish(scope, receive)
        else:
            await self._app(scope, receive, send)


class _Own:
    """Sends metrics on without those of other keys, once they are whole."""

    def __init__(self, send: Send, name: str) -> None:
        self._send = send
        self._name = name.encode()
        self._start: Message | None = None
        self._body = bytearray()
        self._is_whole = False

    async def send(self, message: Message) -> None:
        """Hold the answer."""
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")
            self._is_whole = not message.get("more_body", False)

    async def finish(self, scope: Scope, receive: Receive) -> None:
        """Send what this key may see; an error for an answer that cannot be read line by line."""
        if self._start is None or not self._is_whole:
            return
        headers = MutableHeaders(raw=[(name.lower(), value) for name, value in self._start["headers"]])
        if "content-encoding" in headers:
            error = EngineError("The metrics are compressed, and cannot be filtered by key.", "Use another key.")
            await error_response(scope["path"], error)(scope, receive, self._send)
            return
        body = b"".join(line for line in bytes(self._body).splitlines(keepends=True) if self._is_visible(line))
        headers["content-length"] = str(len(body))
        await self._send({**self._start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})

    def _is_visible(self, line: bytes) -> bool:
        found = None if line.startswith(b"#") else _LABEL.search(line)
        return found is None or _unescaped(found[1]) in (self._name, b"")


def _unescaped(label: bytes) -> bytes:
    return re.sub(rb"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), label)
