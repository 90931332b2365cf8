"""Adapt requests and responses between Maritaca's variant of the OpenAI API and vLLM's OpenAI-compatible routes."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.request_context import context_of
from ..errors import RequestError
from . import openai_dialect
from .context_limit import check_capacity, check_context
from .error_responses import ErrorShape, error_response
from .model_aliases import ModelNames
from .openai_dialect import Body
from .rejection_log import record_rejection
from .request_limits import check_fields, check_texts
from .request_parsing import PARSED_BODY, read

_MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""Fields of vLLM's routes for the maximum length of an answer."""


class MaritacaAPI:
    """ASGI middleware around vLLM's application. Requests that need no adaptation pass unchanged."""

    def __init__(
        self,
        app: ASGIApp,
        names: ModelNames,
        context_length: int,
        max_characters: int,
        max_answers: int | None = None,
    ) -> None:
        """`context_length`: in tokens; `max_characters`: of a prompt; `max_answers`: running and queued, or None."""
        self._app = app
        self._names = names
        self._context_length = context_length
        self._max_characters = max_characters
        self._max_answers = max_answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Adapt and forward one request, or reject it."""
        if scope["type"] == "http":
            scope = {**scope, **normalize_path(scope["path"]), "headers": normalize_authorization(scope["headers"])}
            if scope["method"] == "POST" and scope["path"] in openai_dialect.REQUESTS:
                try:
                    scope, receive = await self._adapt_request(scope, receive)
                except ClientDisconnect:
                    return
                except RequestError as error:
                    record_rejection(scope, error)
                    await error_response(_vllm_shape(scope["path"]), error)(scope, receive, send)
                    return
                if scope["path"] in openai_dialect.EVENTS:
                    send = adapt_events(send, *openai_dialect.EVENTS[scope["path"]])
            elif scope["method"] == "GET" and scope["path"] == openai_dialect.MODELS:
                send = adapt_json(send, openai_dialect.adapt_models)
        await self._app(scope, receive, send)

    async def _adapt_request(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        """Return `scope` and `receive` with the body in vLLM's form. Raises RequestError."""
        raw = await Request(scope, receive).body()
        original = parse(raw)
        check_fields(original)
        check_texts(original, self._context_length, self._max_characters)
        if (context := context_of(scope)) is not None:
            context.usage.is_open = all(original.get(name) is None for name in _MAX_TOKENS_FIELDS)
            context.has_tools = bool(original.get("tools"))
        body = original
        for adapt in openai_dialect.REQUESTS[scope["path"]]:
            body = adapt(body)
        if isinstance(name := body.get("model"), str) and self._names.is_alias(name):
            body = {**body, "model": self._names.served[0]}
        check_capacity(scope["path"], body, self._max_answers)
        await check_context(self._app, scope["path"], body, len(raw), self._context_length)
        scope = {**scope, PARSED_BODY: body}
        if body is not original:
            raw = json.dumps(body).encode()
            headers = MutableHeaders(raw=list(scope["headers"]))
            headers["content-length"] = str(len(raw))
            scope["headers"] = headers.raw
        return scope, replay_body(raw, receive)


def normalize_path(path: str) -> dict[str, object]:
    """Map the prefixes of Maritaca's SDK examples, `/api/`, and of its reference, `/api/v1/`, to `/v1/`.

    Returns the changed keys of the scope. Excludes the legacy routes `/api/chat/inference` and `/api/chat/models`.
    """
    if not path.startswith("/api/") or path in ("/api/chat/inference", "/api/chat/models"):
        return {}
    path = "/v1/" + path.removeprefix("/api/").removeprefix("v1/")
    return {"path": path, "raw_path": path.encode()}


def normalize_authorization(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Rewrite `Authorization: Key K`, which Maritaca's documents also show, to `Bearer K`, which vLLM accepts."""
    scheme, _, key = Headers(raw=headers).get("authorization", "").partition(" ")
    if scheme.lower() != "key":
        return headers
    others = [(name, value) for name, value in headers if name != b"authorization"]
    return [*others, (b"authorization", f"Bearer {key}".encode("latin-1"))]


def parse(raw: bytes) -> Body:
    """Parse the body as a JSON object without NUL characters. Raises RequestError."""
    body: Body = read(raw, dict[str, Any])
    if b"\\u0000" in raw and _has_nul(body):
        raise RequestError("The request is not valid: a text in it has a NUL character (U+0000).", "Send text.")
    return body


def _has_nul(value: object) -> bool:
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            pending += [*each, *each.values()]
        elif isinstance(each, list):
            pending += each
        elif isinstance(each, str) and "\0" in each:
            return True
    return False


def _vllm_shape(path: str) -> ErrorShape:
    """The form in which vLLM answers an invalid request on a path."""
    return ErrorShape.VLLM_MESSAGES if path.startswith(openai_dialect.MESSAGES) else ErrorShape.OPENAI


def replay_body(raw: bytes, receive: Receive) -> Receive:
    """Return a `receive` that first returns the body `raw`."""
    messages = iter([{"type": "http.request", "body": raw, "more_body": False}])

    async def receive_again() -> Message:
        return next(messages, None) or await receive()

    return receive_again


def adapt_events(send: Send, adapt: Callable[[Body], Body], marker: bytes) -> Send:
    """Return a `send` that adapts the events of a stream that contain `marker`. vLLM sends whole events."""

    def send_adapted(message: Message) -> Awaitable[None]:
        body = message.get("body", b"")
        if marker in body and body.startswith((b"data: {", b"event: ")):
            lines = [_adapt_line(line, adapt) for line in body.split(b"\n")]
            message = {**message, "body": b"\n".join(lines)}
        return send(message)

    return send_adapted


def _adapt_line(line: bytes, adapt: Callable[[Body], Body]) -> bytes:
    if not line.startswith(b"data: {"):
        return line
    event = adapt(msgspec.json.decode(line.removeprefix(b"data: ")))
    return b"data: " + msgspec.json.encode(event)


def adapt_json(send: Send, adapt: Callable[[Body], Body]) -> Send:
    """Return a `send` that adapts a JSON response with status 200. vLLM sends the body in one message."""
    pending: list[Message] = []

    async def send_adapted(message: Message) -> None:
        if message["type"] == "http.response.start":
            pending.append(message)
            return
        if pending:
            start = pending.pop()
            if start["status"] == 200:
                message = {**message, "body": msgspec.json.encode(adapt(msgspec.json.decode(message["body"])))}
                headers = MutableHeaders(raw=list(start["headers"]))
                headers["content-length"] = str(len(message["body"]))
                start = {**start, "headers": headers.raw}
            await send(start)
        await send(message)

    return send_adapted
