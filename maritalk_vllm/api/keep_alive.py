"""Streams that are never silent for long, whoever makes their events."""

import asyncio

from starlette.types import Message, Send

from .openapi import EVENTS

SILENCE_SECONDS = 2
"""Longest silence in a stream: httpx, in which asynchronous clients are written, gives up after 5 seconds of it."""

_COMMENT: Message = {"type": "http.response.body", "body": b": keep-alive\n\n", "more_body": True}


class KeptAlive:
    """Sends an answer on, and if it is a stream of events a comment whenever nothing was sent for `SILENCE_SECONDS`.

    To be stopped when there is nothing more to send. A client that does not read has no more than one comment waiting.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._sending = False

    async def __call__(self, message: Message) -> None:
        """Send one message of the answer; events come whole in each."""
        self._last = self._loop.time()
        if message["type"] == "http.response.start":
            if is_event_stream(message):
                self._timer = self._loop.call_later(SILENCE_SECONDS, self._look)
        elif not message.get("more_body", False):
            self.stop()
        self._sending = True
        try:
            await self._send(message)
        finally:
            self._sending = False
            self._last = self._loop.time()

    def stop(self) -> None:
        """Send nothing by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _look(self) -> None:
        # One timer for a stream, not one for each event: it is moved on by what was sent meanwhile.
        left = self._last + SILENCE_SECONDS - self._loop.time()
        if left <= 0:
            self._last, left = self._loop.time(), SILENCE_SECONDS
            if not self._sending and (self._comment is None or self._comment.done()):
                self._comment = asyncio.ensure_future(self._say())
        self._timer = self._loop.call_later(left, self._look)

    async def _say(self) -> None:
        await self._send(dict(_COMMENT))


def is_event_stream(start: Message) -> bool:
    """Whether an answer that begins so is a stream of events."""
    kind = next((value for name, value in start.get("headers", ()) if name.lower() == b"content-type"), b"")
    return bytes(kind).startswith(EVENTS.encode())
