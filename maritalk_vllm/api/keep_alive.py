"""Keep event streams alive: comments in silent periods, for our own streams and vLLM's."""

import asyncio

from starlette.types import Message, Send

from .openapi import EVENTS

SILENCE_SECONDS = 2
"""Maximum silence in a stream. httpx, which asynchronous clients use, times out after 5 seconds without data."""

_COMMENT: Message = {"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True}


class KeepAliveSender:
    """An ASGI `send` that adds a comment to an event stream after each `SILENCE_SECONDS` without a message.

    Call `stop` after the last message. At most one comment is pending, however long a client does not read.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._last_sent = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._sending = False

    async def __call__(self, message: Message) -> None:
        """Send one message of the response. Each message contains whole events."""
        self._last_sent = self._loop.time()
        if message["type"] == "http.response.start":
            if is_event_stream(message):
                self._timer = self._loop.call_later(SILENCE_SECONDS, self._check)
        elif not message.get("more_body", False):
            self.stop()
        self._sending = True
        try:
            await self._send(message)
        finally:
            self._sending = False
            self._last_sent = self._loop.time()

    def stop(self) -> None:
        """Send no more comments."""
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _check(self) -> None:
        # One timer for each stream, not for each event: it is rescheduled by the time of the last message.
        remaining = self._last_sent + SILENCE_SECONDS - self._loop.time()
        if remaining <= 0:
            self._last_sent, remaining = self._loop.time(), SILENCE_SECONDS
            if not self._sending and (self._comment is None or self._comment.done()):
                self._comment = asyncio.ensure_future(self._send_comment())
        self._timer = self._loop.call_later(remaining, self._check)

    async def _send_comment(self) -> None:
        await self._send(dict(_COMMENT))


def is_event_stream(start: Message) -> bool:
    """Whether an `http.response.start` message starts an event stream."""
    content_type = next((value for name, value in start.get("headers", ()) if name.lower() == b"content-type"), b"")
    return bytes(content_type).startswith(EVENTS.encode())
