"""In-flight requests: count them, reject new ones, drain, and abort the rest with an error response."""

import asyncio
import contextlib
from collections.abc import Awaitable

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.cancellation import Cancellation
from ...api.error_responses import error_response, last_events
from ...api.keep_alive import is_event_stream
from ...errors import MariTalkError

_CLOSE = {"Connection": "close"}
_HOLD_SECONDS = 0.25
"""Equal to HOLD_SECONDS of server/loading/loading_app.py."""

_CANCEL_SECONDS = 1
"""How long the application may take to handle the cancellation of a request."""


class InFlightRequests:
    """The requests that are accepted and not answered yet, and whether new ones are."""

    def __init__(self) -> None:
        self._requests: set[_Request] = set()
        self._rejection: MariTalkError | None = None
        self._status = ""
        self.is_waiting = False
        """Whether requests wait for the next engine, which `GET /` reports as `loading`."""
        self.closes_connections = False
        """Whether each response closes its connection: another process will handle the client's next request."""
        self._drained = asyncio.Event()
        self._drained.set()

    def __len__(self) -> int:
        return len(self._requests)

    def reject_new(self, error: MariTalkError, status: str) -> None:
        """Reject new requests with `error`. GET and HEAD are still served; `GET /` reports `status`."""
        self._rejection, self._status = error, status
        self.closes_connections = True

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

    def begin(self, request: "_Request") -> None:
        """Count a request, until `end`."""
        self._requests.add(request)
        self._drained.clear()

    def end(self, request: "_Request") -> None:
        """Count a request no longer. A second call has no effect."""
        self._requests.discard(request)
        if not self._requests:
            self._drained.set()

    def rejection(self, scope: Scope) -> Response | None:
        """Return the response to a new request that is rejected; None if the application answers it."""
        if self._rejection is None:
            return None
        if scope["method"] not in ("GET", "HEAD"):
            return error_response(scope["path"], self._rejection, _CLOSE)
        return JSONResponse({"status": self._status}, headers=_CLOSE) if scope["path"] == "/" else None


class InFlight:
    """ASGI middleware that tracks each request until the last byte of its response is sent."""

    def __init__(self, app: ASGIApp, requests: InFlightRequests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or reject it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (response := self._requests.rejection(scope)) is not None:
            await response(scope, receive, send)
        elif self._requests.is_waiting and scope["method"] in ("GET", "HEAD") and scope["path"] == "/":
            await asyncio.sleep(_HOLD_SECONDS)
            await JSONResponse({"status": "loading"})(scope, receive, send)
        else:
            request = _Request(self._requests, scope["path"], send)
            await request.run(self._app(scope, receive, request.send))


class _Request:
    """One request, and how much of its response has been sent. It runs in the task that the server made for it."""

    def __init__(self, requests: InFlightRequests, path: str, send: Send) -> None:
        self._requests = requests
        self._path = path
        self._send = send
        self._started = self._is_stream = self._complete = False
        self._cancellation = Cancellation()
        self._error: MariTalkError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._final_response: asyncio.Task[None] | None = None

    def abort(self, error: MariTalkError) -> None:
        """End the request with `error`. A second call has no effect."""
        if self._error is None:
            self._error = error
            self._cancellation.cancel()
            self._deadline = asyncio.get_running_loop().call_later(_CANCEL_SECONDS, self._abandon_application)

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the application's response."""
        if message.get("more_body", False) and self._final_response is None:
            return self._send(message)
        return self._send_recorded(message)

    async def _send_recorded(self, message: Message) -> None:
        """Send the start or the end of the response."""
        if self._final_response is not None:
            return
        if message["type"] == "http.response.start" and self._requests.closes_connections:
            MutableHeaders(scope=message)["Connection"] = "close"
        # Record the state only after sending: a client that reads slowly may never get the message.
        await self._send(message)
        if message["type"] == "http.response.start":
            self._started = True
            self._is_stream = is_event_stream(message)
        elif message["type"] == "http.response.body":
            self._complete = True

    async def run(self, application: Awaitable[None]) -> None:
        """Run the application; if the request is aborted, cancel it and send the error."""
        self._requests.begin(self)
        try:
            await self._run(application)
        finally:
            self._requests.end(self)

    async def _run(self, application: Awaitable[None]) -> None:
        try:
            with self._cancellation:
                await application
        except Exception:
            # If the application fails on its cancellation, the error of the abort is the response all the same.
            if self._error is None:
                raise
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
        if self._final_response is not None:
            await self._final_response
        elif self._error is not None:
            await self._send_final_error(self._error)

    def _abandon_application(self) -> None:
        """Respond in place of an application that ignores its cancellation; what it sends from now on is dropped."""
        self._cancellation.cancel()
        self._final_response = asyncio.ensure_future(self._respond_and_end())

    async def _respond_and_end(self) -> None:
        assert self._error is not None
        # A partial response that is no stream stays as it is until the server closes the connection.
        with contextlib.suppress(ConnectionAbortedError):
            await self._send_final_error(self._error)
        self._requests.end(self)

    async def _send_final_error(self, error: MariTalkError) -> None:
        if self._complete:
            return
        if not self._started:
            await error_response(self._path, error)({"type": "http"}, _receive_nothing, self._send)
        elif self._is_stream:
            body = last_events(self._path, error)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            # A partial response that is no stream: only closing the connection can signal the failure.
            raise ConnectionAbortedError(str(error))


async def _receive_nothing() -> Message:
    return {"type": "http.disconnect"}
