"""Answers that come as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from fastapi import Request, Response
from starlette.types import Message, Receive, Scope, Send

from ..errors import MariTalkError
from .disconnect import ClientDisconnected, cancel_on_disconnect
from .keep_alive import SILENCE_SECONDS, KeptAlive
from .openapi import EVENTS
from .rejection_log import fault, note
from .sse_event import event

_HEADERS = [
    (b"content-type", f"{EVENTS}; charset=utf-8".encode()),
    (b"cache-control", b"no-cache"),
    # Proxies such as nginx would gather the events otherwise.
    (b"x-accel-buffering", b"no"),
]


async def stream(request: Request, events: AsyncGenerator[str, None], error_key: str) -> Response:
    """The answer that sends these events as they come, with comments where none comes for a while.

    What is wrong with a request shows before its first event, and is raised here. What goes wrong later can only be
    told in an event of the type `error`.
    """
    first = asyncio.ensure_future(anext(events))
    try:
        await cancel_on_disconnect(request.receive, _soon(first))
    except BaseException:
        await _close(first, events)
        raise
    return EventStream(first, events, error_key)


async def _soon(first: "asyncio.Future[str]") -> None:
    """Until it is there, or it is time to tell the client that something is coming. Raises what it raises."""
    await asyncio.wait((first,), timeout=SILENCE_SECONDS)
    if first.done():
        first.result()


async def _close(first: "asyncio.Future[str]", rest: AsyncGenerator[str, None]) -> None:
    """A generator that is at work cannot be closed: it is stopped, and waited for."""
    first.cancel()
    await asyncio.wait((first,))
    await rest.aclose()


class EventStream(Response):
    """Sends each event as a message of its own; whatever ends it, the source of the events is closed."""

    media_type = EVENTS

    def __init__(self, first: "asyncio.Future[str]", rest: AsyncGenerator[str, None], error_key: str) -> None:
        self.status_code, self.background = 200, None
        self._first = first
        self._rest = rest
        self._error_key = error_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends, or its client goes away."""
        with contextlib.suppress(ClientDisconnected):
            await cancel_on_disconnect(receive, self._send_all(scope, send))

    async def _send_all(self, scope: Scope, send: Send) -> None:
        send = alive = KeptAlive(send)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            try:
                await send(_part(await self._first))
                async for each in self._rest:
                    await send(_part(each))
            except MariTalkError as error:
                note(scope, error)
                await send(_part(event({self._error_key: str(error)}, "error")))
            except Exception:  # noqa: BLE001  (logged by fault)
                await send(_part(event({self._error_key: str(fault(scope))}, "error")))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            alive.stop()
            await _close(self._first, self._rest)


def _part(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}
