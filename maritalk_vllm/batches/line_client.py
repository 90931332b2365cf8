"""Sends the requests of lines to the server's own application, in this process, without HTTP."""

import asyncio
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message

from ..api.disconnect_callbacks import DISCONNECT, DisconnectCallbacks
from ..api.error_responses import error_response
from ..api.media_types import JSON
from ..api.rejection_log import log_exception
from ..api.request_limits import check_values
from ..engine.request_context import CONTEXT, RequestContext, current
from ..engine.request_usage import RequestUsage
from ..engine.service_tier import ServiceTier
from ..errors import MariTalkError, RequestError
from .input_line import InputLine
from .journal import LineResponse

_RETRIED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class LineAnswer:
    """A line's response. `is_final`: False if the server had no room for it, or is about to stop."""

    response: LineResponse
    is_final: bool


class _Stream(msgspec.Struct):
    stream: Any = None


class LineClient:
    """A client of `app`, the application below the layers that authenticate, limit and log clients' requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def send(self, line: InputLine, key_name: str, usage: RequestUsage) -> LineAnswer:
        """Return the answer to a line, whose tokens `usage` counts. Cancelling aborts it in the engine."""
        request_id = uuid.uuid4().hex
        context = RequestContext(request_id, key_name=key_name, tier=ServiceTier.BATCH, usage=usage)
        body = bytes(line.body)
        try:
            _check(body)
        except MariTalkError as error:
            rejection = error_response(line.url, error)
            raw = msgspec.Raw(bytes(rejection.body))
            return LineAnswer(LineResponse(rejection.status_code, request_id, raw), is_final=True)
        exchange = _Exchange(body)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": line.url,
            "raw_path": line.url.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", JSON.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", request_id.encode()),
            ],
            "client": None,
            "server": None,
            CONTEXT: context,
            DISCONNECT: DisconnectCallbacks(),  # never called: the worker awaits each answer
        }
        token = current.set(context)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:  # noqa: BLE001  (logged by log_exception)
            exchange = _Exchange(b"")
            await error_response(line.url, log_exception(scope))(scope, exchange.receive, exchange.send)
        finally:
            current.reset(token)
        # With a reason, the request itself is at fault: it has killed engines.
        is_final = exchange.status not in _RETRIED or bool(context.reason)
        response = LineResponse(exchange.status, request_id, msgspec.Raw(bytes(exchange.body)))
        return LineAnswer(response, is_final)


def _check(body: bytes) -> None:
    """Check what the layers outside of the application check of others. Raises RequestError."""
    check_values(body)
    try:
        is_stream = bool(msgspec.json.decode(body, type=_Stream).stream)
    except (msgspec.DecodeError, RecursionError):
        return  # the route reports the problem
    if is_stream:
        raise RequestError("stream: a line of a batch is answered as a whole.", "Leave it out.")


class _Exchange:
    """The messages of one request and its response."""

    def __init__(self, body: bytes) -> None:
        self.status = 0
        self.body = bytearray()
        self._request: Message | None = {"type": "http.request", "body": body, "more_body": False}
        self._never = asyncio.Event()

    async def receive(self) -> Message:
        """The body, and then nothing: the worker never disconnects."""
        if self._request is None:
            await self._never.wait()
        message, self._request = self._request, None
        assert message is not None
        return message

    async def send(self, message: Message) -> None:
        """Take a part of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
