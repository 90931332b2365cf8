"""The scope of an API key: unrestricted, or, with `scope: metrics` in the key file, limited to the metrics."""

import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...engine.request_context import context_of
from ...errors import EngineError, Forbidden, NoSuchRoute
from ..status import server_metrics

METRICS = "metrics"
"""The scope of a key for Prometheus: it can read the metrics of all keys, and do nothing else."""

_LABEL = re.compile(rb'[{,]key="((?:[^"\\]|\\.)*)"')
_SHOWN = 100
"""Characters of a path that an error shows at most."""

_ESCAPES = {b"\\\\": b"\\", b'\\"': b'"', b"\\n": b"\n"}


class KeyScopes:
    """ASGI middleware after authentication. Of the metrics by key, a key without a scope sees only its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on if the scope of its key permits it, or reject it."""
        context = context_of(scope)
        if scope["type"] != "http" or context is None or context.key_digest is None:
            await self._app(scope, receive, send)
            return
        key_scope, path = context.key_scope, scope["path"]
        is_metrics = path == server_metrics.PATH
        if key_scope and not (key_scope == METRICS and is_metrics and scope["method"] in ("GET", "HEAD")):
            reason = f"This API key is for GET {server_metrics.PATH} alone."
            if key_scope != METRICS:
                reason = (
                    f"There is no scope {key_scope!r}, which this API key has in its file; the only one is {METRICS}."
                )
            await error_response(path, Forbidden(reason, "Use another key."))(scope, receive, send)
        elif path.startswith(server_metrics.PATH) and not is_metrics:
            # vLLM serves its metrics under every path that starts with /metrics.
            error = NoSuchRoute(f"There is no route {path[:_SHOWN]}.", f"The metrics are at {server_metrics.PATH}.")
            await error_response(path, error)(scope, receive, send)
        elif is_metrics and not key_scope:
            # For every method, since vLLM's metrics ignore it. Compressed metrics cannot be filtered.
            headers = [each for each in scope["headers"] if each[0].lower() != b"accept-encoding"]
            metrics_filter = _MetricsFilter(send, context.key_name)
            await self._app({**scope, "headers": headers}, receive, metrics_filter.send)
            await metrics_filter.finish(scope, receive)
        else:
            await self._app(scope, receive, send)


class _MetricsFilter:
    """Buffers a metrics response, and sends it without the samples of other keys once it is complete."""

    def __init__(self, send: Send, name: str) -> None:
        self._send = send
        self._name = name.encode()
        self._start: Message | None = None
        self._body = bytearray()
        self._is_complete = False

    async def send(self, message: Message) -> None:
        """Buffer a part of the response."""
        if message["type"] == "http.response.start":
            self._start = message
        else:
            self._body += message.get("body", b"")
            self._is_complete = not message.get("more_body", False)

    async def finish(self, scope: Scope, receive: Receive) -> None:
        """Send the metrics that this key may see, or an error if the response is compressed."""
        if self._start is None or not self._is_complete:
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
        label = None if line.startswith(b"#") else _LABEL.search(line)
        return label is None or _unescape(label[1]) in (self._name, b"")


def _unescape(label: bytes) -> bytes:
    return re.sub(rb"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), label)
