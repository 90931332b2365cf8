"""What vLLM's application answers, in the form in which our own routes do."""

from http import HTTPStatus

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from ..errors import MethodNotAllowed, NoSuchRoute
from .keep_alive import streams
from .openapi import JSON
from .refusal import refusal


def in_our_form(path: str, send: Send) -> Send:
    """Sends an answer on: streams for proxies that gather and keep, and what the router refuses as the path's API does.

    The router's own refusals are {"detail": "Not Found"}, whatever the API.
    """
    held: list[Message] = []

    async def send_in_form(message: Message) -> None:
        if message["type"] == "http.response.start":
            if streams(message):
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")
                headers.setdefault("X-Accel-Buffering", "no")
            if message["status"] in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
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
        if not _is_the_routers(start, message):
            await send(start)
            await send(message)
            return
        headers = MutableHeaders(raw=list(start["headers"]))
        if start["status"] == HTTPStatus.NOT_FOUND:
            answer = refusal(path, NoSuchRoute(f"There is no route {path}.", "/docs lists those that there are."))
        else:
            allowed = headers.get("allow", "")
            error = MethodNotAllowed(f"This method is not for {path}.", f"Use {allowed}." if allowed else "")
            answer = refusal(path, error, {"Allow": allowed} if allowed else None)
        del headers["content-length"], headers["content-type"], headers["allow"]
        await send({**start, "headers": [*headers.raw, *answer.raw_headers]})
        await send({"type": "http.response.body", "body": answer.body})

    return send_in_form


def _is_the_routers(start: Message, message: Message) -> bool:
    if dict(start["headers"]).get(b"content-type") != JSON.encode():
        return False
    try:
        told = msgspec.json.decode(message.get("body", b""))
    except msgspec.DecodeError:
        return False
    return isinstance(told, dict) and list(told) == ["detail"] and isinstance(told["detail"], str)
