"""The door to vLLM's OpenAI-compatible routes, where Maritaca's form of that API becomes vLLM's."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.request_usage import current
from ..errors import RequestError
from . import openai_dialect
from .context_limit import check_context, check_room
from .model_aliases import ModelNames
from .openai_dialect import Body
from .rejection_log import note
from .request_limits import check_fields, check_texts
from .request_parsing import read

_MOST_TOKENS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""The names by which vLLM's routes take the length of an answer."""


class MaritacaAPI:
    """ASGI middleware around vLLM's application. What it has no reason to touch goes through as it is."""

    def __init__(
        self,
        app: ASGIApp,
        names: ModelNames,
        context_length: int,
        most_characters: int,
        most_answers: int | None = None,
    ) -> None:
        """`context_length` in tokens, and in characters at most; `most_answers` at once, if there is a limit."""
        self._app = app
        self._names = names
        self._context_length = context_length
        self._most_characters = most_characters
        self._most_answers = most_answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, adapted, or refuse it."""
        if scope["type"] == "http":
            scope = {**scope, **normalize_path(scope["path"]), "headers": normalize_authorization(scope["headers"])}
            if scope["method"] == "POST" and scope["path"] in openai_dialect.REQUESTS:
                try:
                    scope, receive = await self._adapted(scope, receive)
                except ClientDisconnect:
                    return
                except RequestError as error:
                    note(scope, error)
                    await refusal(scope["path"], error)(scope, receive, send)
                    return
                if scope["path"] in openai_dialect.EVENTS:
                    send = adapting_events(send, *openai_dialect.EVENTS[scope["path"]])
            elif scope["method"] == "GET" and scope["path"] == openai_dialect.MODELS:
                send = adapting_json(send, openai_dialect.with_context_length)
        await self._app(scope, receive, send)

    async def _adapted(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        """The request with its body as vLLM wants it. Raises RequestError."""
        raw = await Request(scope, receive).body()
        given = parse(raw)
        check_fields(given)
        check_texts(given, self._context_length, self._most_characters)
        if (account := current.get()) is not None:
            account.is_open = all(given.get(name) is None for name in _MOST_TOKENS)
        body = given
        for adapt in openai_dialect.REQUESTS[scope["path"]]:
            body = adapt(body)
        if isinstance(name := body.get("model"), str) and self._names.is_alias(name):
            body = {**body, "model": self._names.served[0]}
        check_room(scope["path"], body, self._most_answers)
        await check_context(self._app, scope["path"], body, len(raw), self._context_length)
        if body is not given:
            raw = json.dumps(body).encode()
        headers = MutableHeaders(raw=list(scope["headers"]))
        headers["content-length"] = str(len(raw))
        return {**scope, "headers": headers.raw}, replay_body(raw, receive)


def normalize_path(path: str) -> dict[str, object]:
    """Maritaca's SDK examples call `/api/...`, its reference `/api/v1/...` too: both are `/v1/...`.

    The routes of the legacy API, `/api/chat/inference` and `/api/chat/models`, stay where they are.
    """
    if not path.startswith("/api/") or path in ("/api/chat/inference", "/api/chat/models"):
        return {}
    path = "/v1/" + path.removeprefix("/api/").removeprefix("v1/")
    return {"path": path, "raw_path": path.encode()}


def normalize_authorization(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Maritaca's documents show `Authorization: Key K` as well as `Bearer K`; vLLM knows the second."""
    scheme, _, key = Headers(raw=headers).get("authorization", "").partition(" ")
    if scheme.lower() != "key":
        return headers
    others = [(name, value) for name, value in headers if name != b"authorization"]
    return [*others, (b"authorization", f"Bearer {key}".encode("latin-1"))]


def parse(raw: bytes) -> Body:
    """The body as a JSON object whose texts a model can read. Raises RequestError."""
    body: Body = read(raw, dict[str, Any])
    if b"\\u0000" in raw and _has_nul(body):
        raise RequestError("The request is not valid: a text in it has a NUL character (U+0000).", "Send text.")
    return body


def _has_nul(value: object) -> bool:
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
        elif isinstance(each, str) and "\0" in each:
            return True
    return False


def refusal(path: str, error: RequestError) -> JSONResponse:
    """An error as OpenAI's clients read it, or Anthropic's."""
    told: dict[str, Any] = {"message": str(error), "type": "BadRequestError"}
    if path.startswith(openai_dialect.MESSAGES):
        return JSONResponse({"type": "error", "error": told}, error.http_status)
    return JSONResponse({"error": {**told, "param": None, "code": error.http_status}}, error.http_status)


def replay_body(raw: bytes, receive: Receive) -> Receive:
    """A source of messages that begins with this body."""
    messages = iter([{"type": "http.request", "body": raw, "more_body": False}])

    async def receive_again() -> Message:
        return next(messages, None) or await receive()

    return receive_again


def adapting_events(send: Send, adapt: Callable[[Body], Body], sign: bytes) -> Send:
    """Sends a stream on, with each event adapted that has `sign` in it. vLLM sends events whole."""

    async def send_adapted(message: Message) -> None:
        body = message.get("body", b"")
        if sign in body and body.startswith((b"data: {", b"event: ")):
            lines = [_adapted_line(line, adapt) for line in body.split(b"\n")]
            message = {**message, "body": b"\n".join(lines)}
        await send(message)

    return send_adapted


def _adapted_line(line: bytes, adapt: Callable[[Body], Body]) -> bytes:
    if not line.startswith(b"data: {"):
        return line
    event = adapt(msgspec.json.decode(line.removeprefix(b"data: ")))
    return b"data: " + msgspec.json.encode(event)


def adapting_json(send: Send, adapt: Callable[[Body], Body]) -> Send:
    """Sends an answer in JSON on, adapted. vLLM sends it in one piece."""
    held: list[Message] = []

    async def send_adapted(message: Message) -> None:
        if message["type"] == "http.response.start":
            held.append(message)
            return
        if held:
            start = held.pop()
            if start["status"] == 200:
                message = {**message, "body": msgspec.json.encode(adapt(msgspec.json.decode(message["body"])))}
                headers = MutableHeaders(raw=list(start["headers"]))
                headers["content-length"] = str(len(message["body"]))
                start = {**start, "headers": headers.raw}
            await send(start)
        await send(message)

    return send_adapted
