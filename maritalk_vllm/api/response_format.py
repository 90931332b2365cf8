"""What vLLM's application answers, in the form in which our own routes do."""

from http import HTTPStatus

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

from ..errors import MariTalkError, MethodNotAllowed, NoSuchRoute, RequestError
from .error_responses import error_response
from .keep_alive import is_event_stream
from .openapi import JSON


def in_our_form(scope: Scope, send: Send) -> Send:
    """Sends an answer on: streams for proxies that gather and keep, and the framework's refusals in the path's form.

    By itself it answers {"detail": "Not Found"} in every API.
    """
    method, path = scope["method"], scope["path"]
    held: list[Message] = []

    async def send_in_form(message: Message) -> None:
        if message["type"] == "http.response.start":
            if is_event_stream(message):
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")
                headers.setdefault("X-Accel-Buffering", "no")
            if message["status"] >= HTTPStatus.BAD_REQUEST:
                held.append(message)
                return
        elif held:
            if message.get("more_body", False):
                await send(held.pop())
            else:
                start = held.pop()
                await send_refusal(start, message)
                return
        await send(message)

    async def send_refusal(start: Message, message: Message) -> None:
        detail = _detail(start, message)
        if detail is None:
            await send(start)
            await send(message)
            return
        headers = MutableHeaders(raw=list(start["headers"]))
        answer = error_response(path, _error(method, path, start["status"], detail, headers.get("allow", "")))
        del headers["content-length"], headers["content-type"]
        await send({**start, "headers": [*headers.raw, *answer.raw_headers]})
        await send({"type": "http.response.body", "body": answer.body})

    return send_in_form


def _error(method: str, path: str, status: int, detail: str, allowed: str) -> MariTalkError:
    if status == HTTPStatus.NOT_FOUND:
        return NoSuchRoute(f"There is no route {path}.", "/docs lists those that there are.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed(f"{method} is not for {path}.", f"Use {allowed}." if allowed else "")
    error = RequestError(f"{detail.rstrip('.')}.")
    error.http_status = status
    return error


def _detail(start: Message, message: Message) -> str | None:
    """What the framework says by itself; None for an answer of vLLM's."""
    if dict(start["headers"]).get(b"content-type") != JSON.encode():
        return None
    try:
        told = msgspec.json.decode(message.get("body", b""))
    except msgspec.DecodeError:
        return None
    detail = told["detail"] if isinstance(told, dict) and list(told) == ["detail"] else None
    return detail if isinstance(detail, str) else None
