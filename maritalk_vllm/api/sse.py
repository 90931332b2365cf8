"""Responses as server-sent events."""

import contextlib
from collections.abc import AsyncGenerator

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ..errors import MariTalkError
from .cancellation import ClientDisconnected, cancel_on_disconnect
from .error_responses import ErrorShape, error_response, last_events
from .keep_alive import KeepAliveSender
from .media_types import EVENTS
from .rejection_log import log_exception, record_rejection

_HEADERS = [
    (b"content-type", f"{EVENTS}; charset=utf-8".encode()),
    (b"cache-control", b"no-cache"),
    # Prevents buffering by proxies such as nginx.
    (b"x-accel-buffering", b"no"),
]

_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class EventStream(Response):
    """Streams events, each in its own message, with keep-alive comments in silent periods.

    It starts with the first event, or after `SILENCE_SECONDS`: an error before that has a status of its own, a later
    one becomes an event of type `error`.
    """

    media_type = EVENTS

    def __init__(self, events: AsyncGenerator[str, None], error_shape: ErrorShape) -> None:
        """`events` are closed in any case."""
        self.status_code, self.background = 200, None
        self._events = events
        self._error_shape = error_shape

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream until it ends or the client disconnects."""
        start: Message = {"type": "http.response.start", "status": self.status_code, "headers": list(_HEADERS)}
        sender = KeepAliveSender(send, start)
        try:
            async with contextlib.aclosing(self._events):
                await cancel_on_disconnect(scope, receive, self._send_events(sender))
        except MariTalkError as error:
            if isinstance(error, ClientDisconnected) and sender.has_started:
                return
            record_rejection(scope, error)
            await self._fail(error, sender, send)
        except Exception:  # noqa: BLE001  (logged by log_exception)
            await self._fail(log_exception(scope), sender, send)
        else:
            await sender(dict(_END))
        finally:
            sender.stop()

    async def _send_events(self, sender: KeepAliveSender) -> None:
        async for each in self._events:
            await sender(_body_message(each.encode()))

    async def _fail(self, error: MariTalkError, sender: KeepAliveSender, send: Send) -> None:
        """Send `error` as the last event, or as the response if none has started."""
        if sender.has_started:
            await sender(_body_message(last_events(self._error_shape, error)))
            await sender(dict(_END))
        else:
            sender.stop()
            response = error_response(self._error_shape, error)
            await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
            await send({"type": "http.response.body", "body": response.body})


def _body_message(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
