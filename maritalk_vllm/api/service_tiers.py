"""The field `service_tier` of OpenAI's and Maritaca's API: which requests wait, and the tier in a response."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.request_context import context_of
from ..engine.service_tier import ServiceTier
from ..errors import TooManyRequests
from .cancellation import ClientDisconnected, cancel_on_disconnect
from .error_responses import error_response
from .flex_queue import FlexQueue
from .keep_alive import is_event_stream
from .openai_adapter import adapt_events, adapt_json, replay_body
from .openai_dialect import CHAT, COMPLETIONS, RESPONSES, Body
from .rejection_log import record_rejection

_PATHS = (CHAT, COMPLETIONS, RESPONSES)
_FIELD = b'"service_tier"'


class _Tiered(msgspec.Struct):
    service_tier: Any = None


class ServiceTiers:
    """ASGI middleware around vLLM's application, which ignores the field. Requests without it pass unchanged.

    `flex` waits for a place. Every other value is the default tier: no client can raise its own priority.
    """

    def __init__(self, app: ASGIApp, queue: FlexQueue) -> None:
        self._app = app
        self._queue = queue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on when it is its turn, or reject it."""
        context = context_of(scope)
        if context is None or scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in _PATHS:
            await self._app(scope, receive, send)
            return
        raw = await Request(scope, receive).body()
        given = _tier(raw)
        if given is not None and context.tier is not ServiceTier.BATCH:
            if given == ServiceTier.FLEX.value:
                context.tier = ServiceTier.FLEX
                try:
                    await cancel_on_disconnect(scope, receive, self._queue.wait())
                except ClientDisconnected:
                    return
                except TooManyRequests as error:
                    context.reason = "overloaded"
                    record_rejection(scope, error)
                    await error_response(scope["path"], error)(scope, receive, send)
                    return
            send = _naming(send, context.tier)
        await self._app(scope, replay_body(raw, receive), send)


def _tier(raw: bytes) -> str | None:
    """The value of the field; None without one. An invalid body is left to the route."""
    if _FIELD not in raw:
        return None
    try:
        given = msgspec.json.decode(raw, type=_Tiered).service_tier
    except msgspec.DecodeError:
        return None
    return given if isinstance(given, str) else None


def _naming(send: Send, tier: ServiceTier) -> Send:
    """Return a `send` that writes the tier into the response or into each event of it."""
    inner: list[Send] = []

    def name(body: Body) -> Body:
        target = body.get("response", body)
        if isinstance(target, dict) and "object" in target:
            target["service_tier"] = tier.value
        return body

    async def send_named(message: Message) -> None:
        if message["type"] == "http.response.start":
            inner.append(adapt_events(send, name, b"data: ") if is_event_stream(message) else adapt_json(send, name))
        await inner[0](message)

    return send_named
