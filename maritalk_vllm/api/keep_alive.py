"""Keep event streams alive: comments in silent periods, for our own streams and vLLM's."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .media_types import EVENTS

SILENCE_SECONDS = 2
"""Maximum silence in a stream. httpx, which asynchronous clients use, times out after 5 seconds without data."""

_COMMENT: Message = {"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True}


class KeepAlive:
    """ASGI middleware that adds the comments to the event streams of an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sender = KeepAliveSender(send)
        try:
            await self._app(scope, receive, sender)
        finally:
            sender.stop()


class KeepAliveSender:
    """An ASGI `send` that adds a comment to an event stream after each `SILENCE_SECONDS` without a message.

    Call `stop` after the last message. At most one comment is pending, however long a client does not read.
    """

    def __init__(self, send: Send, start: Message | None = None) -> None:
        """`start`: the first message of a stream, sent with the next one or after `SILENCE_SECONDS`."""
        self._send = send
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._last_sent = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._silence: asyncio.Task[None] | None = None
        self._sending = False
        if start is not None:
            self._timer = self._loop.call_later(SILENCE_SECONDS, self._check)

    @property
    def has_started(self) -> bool:
        """Whether the message `start` is sent."""
        return self._start is None

    async def __call__(self, message: Message) -> None:
        """Send one message of the response. Each message contains whole events."""
        if self._silence is not None and not self._silence.done():
            await asyncio.wait((self._silence,))  # it may be sending `start`, which has to be the first
        if message["type"] == "http.response.start":
            if is_event_stream(message):
                self._timer = self._loop.call_later(SILENCE_SECONDS, self._check)
        elif not message.get("more_body", False):
            self.stop()
        self._sending = True
        try:
            if (start := self._start) is not None:
                self._start = None
                await self._send(start)
            await self._send(message)
        finally:
            self._sending = False
            self._last_sent = self._loop.time()

    def stop(self) -> None:
        """Send no more comments."""
        if self._timer is not None:
            self._timer.cancel()
        if self._silence is not None:
            self._silence.cancel()

    def _check(self) -> None:
        # One timer for each stream, not for each event: it is rescheduled by the time of the last message.
        remaining = self._last_sent + SILENCE_SECONDS - self._loop.time()
        if remaining <= 0:
            self._last_sent, remaining = self._loop.time(), SILENCE_SECONDS
            if not self._sending and (self._silence is None or self._silence.done()):
                self._silence = asyncio.ensure_future(self._break_silence())
        self._timer = self._loop.call_later(remaining, self._check)

    async def _break_silence(self) -> None:
        message, self._start = self._start or dict(_COMMENT), None
        await self._send(message)


def is_event_stream(start: Message) -> bool:
    """Whether an `http.response.start` message starts an event stream."""
    content_type = next((value for name, value in start.get("headers", ()) if name.lower() == b"content-type"), b"")
    return bytes(content_type).startswith(EVENTS.encode())
