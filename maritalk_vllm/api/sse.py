"""Responses as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from fastapi import Request, Response
from starlette.types import Message, Receive, Scope, Send

from ..errors import MariTalkError
from .disconnect import ClientDisconnected, cancel_on_disconnect
from .keep_alive import SILENCE_SECONDS, KeepAliveSender
from .openapi import EVENTS
from .rejection_log import log_exception, record_rejection
from .sse_event import event

_HEADERS = [
    (b"content-type", f"{EVENTS}; charset=utf-8".encode()),
    (b"cache-control", b"no-cache"),
    # Prevents buffering by proxies such as nginx.
    (b"x-accel-buffering", b"no"),
]


async def stream(request: Request, events: AsyncGenerator[str, None], error_key: str) -> Response:
    """Return a response that streams `events`, with keep-alive comments in silent periods.

    An error before the first event is raised here. A later error becomes an event of type `error`.
    """
    first = asyncio.ensure_future(anext(events))
    try:
        await cancel_on_disconnect(request.receive, _wait_briefly(first))
    except BaseException:
        await _close(first, events)
        raise
    return EventStream(first, events, error_key)


async def _wait_briefly(first: "asyncio.Future[str]") -> None:
    """Wait for the first event, at most `SILENCE_SECONDS`. Raises its exception, if any."""
    await asyncio.wait((first,), timeout=SILENCE_SECONDS)
    if first.done():
        first.result()


async def _close(first: "asyncio.Future[str]", rest: AsyncGenerator[str, None]) -> None:
    """Close the generator. A running generator cannot be closed, so cancel its current step and wait for it."""
    first.cancel()
    await asyncio.wait((first,))
    await rest.aclose()


class EventStream(Response):
    """Sends each event in its own message. Closes the generator in any case."""

    media_type = EVENTS

    def __init__(self, first: "asyncio.Future[str]", rest: AsyncGenerator[str, None], error_key: str) -> None:
        self.status_code, self.background = 200, None
        self._first = first
        self._rest = rest
        self._error_key = error_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends or the client disconnects."""
        with contextlib.suppress(ClientDisconnected):
            await cancel_on_disconnect(receive, self._send_all(scope, send))

    async def _send_all(self, scope: Scope, send: Send) -> None:
        send = sender = KeepAliveSender(send)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            try:
                await send(_body_message(await self._first))
                async for each in self._rest:
                    await send(_body_message(each))
            except MariTalkError as error:
                record_rejection(scope, error)
                await send(_body_message(event({self._error_key: str(error)}, "error")))
            except Exception:  # noqa: BLE001  (logged by log_exception)
                await send(_body_message(event({self._error_key: str(log_exception(scope))}, "error")))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            sender.stop()
            await _close(self._first, self._rest)


def _body_message(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
