"""What an API key is for: all that the server offers, or, with `scope: metrics` in its file, what is watched alone."""

import re
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.refusal import refusal
from ..errors import Forbidden
from . import metrics
from .keys import KEY, KEY_NAME, KEY_SCOPE

METRICS = "metrics"
"""The scope of a key for Prometheus: it reads the metrics of all keys, and generates nothing."""

_LABEL = re.compile(rb'[{,]key="((?:[^"\\]|\\.)*)"')
_ESCAPES = {b"\\\\": b"\\", b'\\"': b'"', b"\\n": b"\n"}


class Scopes:
    """ASGI middleware behind the door. Any other key sees of the metrics by key its own alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, if its key is for it."""
        if scope["type"] != "http" or scope.get(KEY) is None:
            await self._app(scope, receive, send)
            return
        given, path = scope.get(KEY_SCOPE, ""), scope["path"]
        reads_metrics = scope["method"] in ("GET", "HEAD") and path == metrics.PATH
        if given and not (given == METRICS and reads_metrics):
            why = f"This API key is for GET {metrics.PATH} alone."
            if given != METRICS:
                why = f"There is no scope {given!r}, which this API key has in its file; the only one is {METRICS}."
            await refusal(path, Forbidden(why, "Use another key."))(scope, receive, send)
        elif reads_metrics and not given:
            own = _Own(send, scope.get(KEY_NAME, ""))
            await self._app(scope, receive, own.send)
        else:
            await self._app(scope, receive, send)


class _Own:
    """Sends metrics on without those of other keys."""

    def __init__(self, send: Send, name: str) -> None:
        self._send = send
        self._name = name.encode()
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Hold the answer until it is whole."""
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.OK:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_own(self._start)

    async def _send_own(self, start: Message) -> None:
        body = b"".join(line for line in bytes(self._body).splitlines(keepends=True) if self._is_visible(line))
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-length"] = str(len(body))
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})

    def _is_visible(self, line: bytes) -> bool:
        found = None if line.startswith(b"#") else _LABEL.search(line)
        return found is None or _unescaped(found[1]) in (self._name, b"")


def _unescaped(label: bytes) -> bytes:
    return re.sub(rb"\\.", lambda escape: _ESCAPES.get(escape[0], escape[0]), label)
