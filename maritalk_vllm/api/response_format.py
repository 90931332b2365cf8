"""Convert responses of vLLM's application to the form of our own routes."""

from collections.abc import Awaitable
from http import HTTPStatus

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import MariTalkError, MethodNotAllowed, NoSuchRoute, RequestError
from .error_responses import UNAVAILABLE_HEADERS, error_response
from .keep_alive import is_event_stream
from .media_types import JSON


class ResponseFormat:
    """ASGI middleware around vLLM's application that converts its responses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        await self._app(scope, receive, normalize_response(scope, send) if scope["type"] == "http" else send)


def normalize_response(scope: Scope, send: Send) -> Send:
    """Return a `send` that converts the framework's error responses to the form of the path's API.

    The framework would respond {"detail": "Not Found"} in every API. Event streams get headers that stop proxies from
    buffering or caching them, and 503 responses a Retry-After, which vLLM's own have not.
    """
    method, path = scope["method"], scope["path"]
    pending: list[Message] = []

    def send_normalized(message: Message) -> Awaitable[None]:
        # The pieces of a stream pass as they are, without a coroutine for each.
        if pending or message["type"] == "http.response.start":
            return send_start_or_error(message)
        return send(message)

    async def send_start_or_error(message: Message) -> None:
        if message["type"] == "http.response.start":
            if is_event_stream(message):
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")
                headers.setdefault("X-Accel-Buffering", "no")
            if message["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
                headers = MutableHeaders(scope=message)
                for name, value in UNAVAILABLE_HEADERS.items():
                    headers.setdefault(name, value)
            if message["status"] >= HTTPStatus.BAD_REQUEST:
                pending.append(message)
                return
        elif message.get("more_body", False):
            await send(pending.pop())
        else:
            await send_error(pending.pop(), message)
            return
        await send(message)

    async def send_error(start: Message, message: Message) -> None:
        detail = _detail(start, message)
        if detail is None:
            await send(start)
            await send(message)
            return
        headers = MutableHeaders(raw=list(start["headers"]))
        response = error_response(path, _error(method, path, start["status"], detail, headers.get("allow", "")))
        del headers["content-length"], headers["content-type"]
        await send({**start, "headers": [*headers.raw, *response.raw_headers]})
        await send({"type": "http.response.body", "body": response.body})

    return send_normalized


def _error(method: str, path: str, status: int, detail: str, allowed: str) -> MariTalkError:
    if status == HTTPStatus.NOT_FOUND:
        return NoSuchRoute(f"There is no route {path}.", "/docs lists all routes.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(f"{method} is not for {path}.", f"Use {allowed}." if allowed else "")
    error = RequestError(f"{detail.rstrip('.')}.")
    error.http_status = status
    return error


def _detail(start: Message, message: Message) -> str | None:
    """The message of an error response of the framework; None for a response of vLLM's."""
    if dict(start["headers"]).get(b"content-type") != JSON.encode():
        return None
    try:
        body = msgspec.json.decode(message.get("body", b""))
    except msgspec.DecodeError:
        return None
    detail = body["detail"] if isinstance(body, dict) and list(body) == ["detail"] else None
    return detail if isinstance(detail, str) else None
