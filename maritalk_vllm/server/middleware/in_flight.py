"""In-flight requests: count them, reject new ones, drain, and abort the rest with an error response."""

import asyncio
import contextlib
from collections.abc import Awaitable
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response, last_events
from ...api.keep_alive import is_event_stream
from ...errors import MariTalkError

_CLOSE = {"Connection": "close"}
_CANCEL_SECONDS = 1
"""How long the application may take to handle the cancellation of a request."""


class InFlightRequests:
    """ASGI middleware that tracks each request until the last byte of its response is sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._requests: set[_Request] = set()
        self._rejection: MariTalkError | None = None
        self._status = ""
        self._drained = asyncio.Event()
        self._drained.set()

    def __len__(self) -> int:
        return len(self._requests)

    def reject_new(self, error: MariTalkError, status: str) -> None:
        """Reject new requests with `error`. GET and HEAD are still served; `GET /` reports `status`."""
        self._rejection, self._status = error, status

    @property
    def is_rejecting(self) -> bool:
        """Whether new requests are rejected."""
        return self._rejection is not None

    async def drain(self, seconds: float) -> bool:
        """Wait until all requests have finished; return False if some have not after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._drained.wait()
        return not self._requests

    def abort_all(self, error: MariTalkError) -> None:
        """Abort all in-flight requests with `error`, in the error format of each request's API."""
        for request in self._requests:
            request.abort(error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._rejection is not None and (response := self._reject(scope, self._rejection)) is not None:
            await response(scope, receive, send)
            return
        request = _Request(self, scope["path"], send)
        self._requests.add(request)
        self._drained.clear()
        try:
            await request.run(self._app(scope, receive, request.send))
        finally:
            self._requests.discard(request)
            if not self._requests:
                self._drained.set()

    def _reject(self, scope: Scope, error: MariTalkError) -> Response | None:
        """Return the response to a request while rejecting; None for a GET or HEAD that the application answers."""
        if scope["method"] not in ("GET", "HEAD"):
            return error_response(scope["path"], error, _CLOSE)
        return JSONResponse({"status": self._status}, headers=_CLOSE) if scope["path"] == "/" else None


class _Request:
    """One request, and how much of its response has been sent."""

    def __init__(self, in_flight: InFlightRequests, path: str, send: Send) -> None:
        self._in_flight = in_flight
        self._path = path
        self._send = send
        self._started = self._is_stream = self._complete = False
        self._aborted: asyncio.Future[MariTalkError] = asyncio.get_running_loop().create_future()

    def abort(self, error: MariTalkError) -> None:
        """End the request with `error`. A second call has no effect."""
        if not self._aborted.done():
            self._aborted.set_result(error)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
            # vLLM's own 503 responses have no Retry-After.
            MutableHeaders(scope=message).setdefault("Retry-After", "1")
        if message["type"] == "http.response.start" and self._in_flight.is_rejecting:
            # Another process will handle the client's next request.
            MutableHeaders(scope=message)["Connection"] = "close"
        # Record the state only after sending: a client that reads slowly may never get the message.
        await self._send(message)
        if message["type"] == "http.response.start":
            self._started = True
            self._is_stream = is_event_stream(message)
        elif message["type"] == "http.response.body":
            self._complete = not message.get("more_body", False)

    async def run(self, application: Awaitable[None]) -> None:
        """Run the application; if the request is aborted, cancel it and send the error."""
        work = asyncio.ensure_future(application)
        try:
            await asyncio.wait((work, self._aborted), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            work.cancel()
            await asyncio.wait((work,), timeout=_CANCEL_SECONDS)
            await self._send_final_error(self._aborted.result())
        finally:
            work.cancel()

    async def _send_final_error(self, error: MariTalkError) -> None:
        if self._complete:
            return
        if not self._started:
            await error_response(self._path, error)({"type": "http", "method": "GET"}, _receive_nothing, self._send)
        elif self._is_stream:
            body = last_events(self._path, error)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            # A partial response that is no stream: only closing the connection can signal the failure.
            raise ConnectionAbortedError(str(error))


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}
