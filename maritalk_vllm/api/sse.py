"""Answers that come as server-sent events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from ..engine.arguments import SILENCE_SECONDS
from ..errors import MariTalkError
from .event import event
from .hangup import ClientGone, unless_gone
from .log import note
from .openapi import EVENTS

_COMMENT = b": keep-alive\n\n"
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
        await unless_gone(request.receive, _soon(first))
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
        with contextlib.suppress(ClientGone):
            await unless_gone(receive, self._send_all(scope, send))

    async def _send_all(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        try:
            with _kept_alive(send) as pace:
                try:
                    await pace(await self._first)
                    async for each in self._rest:
                        await pace(each)
                except MariTalkError as error:
                    note(scope, error)
                    await pace(event({self._error_key: str(error)}, "error"))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await _close(self._first, self._rest)


class _Pace:
    """Sends events, and a comment whenever nothing was sent for `SILENCE_SECONDS`."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(SILENCE_SECONDS, self._look)
        self._comment: asyncio.Task[None] | None = None

    async def __call__(self, text: str) -> None:
        self._last = self._loop.time()
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    def _look(self) -> None:
        # One timer for a stream, not one for each event: it is moved on by what was sent meanwhile.
        left = self._last + SILENCE_SECONDS - self._loop.time()
        if left <= 0:
            self._last, left = self._loop.time(), SILENCE_SECONDS
            self._comment = asyncio.ensure_future(self._say())
        self._timer = self._loop.call_later(left, self._look)

    async def _say(self) -> None:
        await self._send({"type": "http.response.body", "body": _COMMENT, "more_body": True})

    def stop(self) -> None:
        self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()


@contextlib.contextmanager
def _kept_alive(send: Send) -> Iterator[_Pace]:
    pace = _Pace(send)
    try:
        yield pace
    finally:
        pace.stop()
