"""The requests that are under way: counted, refused when no more are taken, and ended with a last word."""

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
"""How long a request may take to notice that it is over."""


class InFlightRequests:
    """ASGI middleware. It knows each request from its first byte to the last of its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._flights: set[_Request] = set()
        self._refusing: MariTalkError | None = None
        self._status = ""
        self._landed = asyncio.Event()
        self._landed.set()

    def __len__(self) -> int:
        return len(self._flights)

    def refuse(self, error: MariTalkError, status: str) -> None:
        """Take no more work: whoever brings some is told this. Reading goes on, and `GET /` shows this status."""
        self._refusing, self._status = error, status

    @property
    def refuses(self) -> bool:
        """Whether no more work is taken."""
        return self._refusing is not None

    async def drain(self, seconds: float) -> bool:
        """Wait until all requests are answered; False if some are not after so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._landed.wait(), seconds)
        return not self._flights

    def end(self, error: MariTalkError) -> None:
        """Tell all that are under way, each as its own API does, that they will not be answered."""
        for flight in self._flights:
            flight.end(error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._refusing is not None and (answer := self._instead(scope, self._refusing)) is not None:
            await answer(scope, receive, send)
            return
        flight = _Request(self, scope["path"], send)
        self._flights.add(flight)
        self._landed.clear()
        try:
            await flight.fly(self._app(scope, receive, flight.send))
        finally:
            self._flights.discard(flight)
            if not self._flights:
                self._landed.set()

    def _instead(self, scope: Scope, error: MariTalkError) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return error_response(scope["path"], error, _CLOSE)
        return JSONResponse({"status": self._status}, headers=_CLOSE) if scope["path"] == "/" else None


class _Request:
    """One request, and how far its answer is."""

    def __init__(self, flights: InFlightRequests, path: str, send: Send) -> None:
        self._flights = flights
        self._path = path
        self._send = send
        self._begun = self._streams = self._whole = False
        self._ended: asyncio.Future[MariTalkError] = asyncio.get_running_loop().create_future()

    def end(self, error: MariTalkError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == HTTPStatus.SERVICE_UNAVAILABLE:
            # vLLM's own refusals do not say when to come again.
            MutableHeaders(scope=message).setdefault("Retry-After", "1")
        if message["type"] == "http.response.start" and self._flights.refuses:
            # The next request is for another process.
            MutableHeaders(scope=message)["Connection"] = "close"
        # Noted only when it is done: a client that reads slowly may never get it.
        await self._send(message)
        if message["type"] == "http.response.start":
            self._begun = True
            self._streams = is_event_stream(message)
        elif message["type"] == "http.response.body":
            self._whole = not message.get("more_body", False)

    async def fly(self, answering: Awaitable[None]) -> None:
        """Answer, or say why not."""
        work = asyncio.ensure_future(answering)
        try:
            await asyncio.wait((work, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                return
            work.cancel()
            await asyncio.wait((work,), timeout=_CANCEL_SECONDS)
            await self._last_word(self._ended.result())
        finally:
            work.cancel()

    async def _last_word(self, error: MariTalkError) -> None:
        if self._whole:
            return
        if not self._begun:
            await error_response(self._path, error)({"type": "http", "method": "GET"}, _nothing, self._send)
        elif self._streams:
            body = last_events(self._path, error)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            # Half of an answer in one piece: closing the connection is all that tells.
            raise ConnectionAbortedError(str(error))


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
