"""What the port answers before the engine can: the status at once, generation requests when it is ready."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.responses import JSONResponse, Response

from ...api.disconnect import ClientDisconnected, Receive, cancel_on_disconnect
from ...api.error_responses import error_response
from ...errors import MariTalkError, Unavailable
from ..status import server_metrics

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HOLD_SECONDS = 0.25
"""How long `GET /` waits before it says `loading`: clients since 0.2.5 ask again at once, without any pause."""

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer"}
_LOADING = Unavailable("The model is still loading.", "Try again in a moment.")
_DIED = Unavailable("The engine has died, and is started again.", "Try again in a moment.")
_CLOSE = {"Connection": "close"}


class LoadingApp:
    """An ASGI application for the time of loading. Every answer closes its connection: the next finds the engine."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """`registry`: what `/metrics` tells as long as there is no engine."""
        self._registry = registry
        self._decided = asyncio.Event()
        self._outcome: str | MariTalkError = ""
        self._long = asyncio.Event()
        self._why: MariTalkError = _LOADING

    def open(self, url: str) -> None:
        """The engine is ready: pass on to this address what waits here."""
        self._decide(url)

    def refuse(self, error: MariTalkError) -> None:
        """The engine will not come: tell those who wait."""
        self._decide(error)

    def hold(self, why_not: MariTalkError | None) -> None:
        """Hold requests until the engine is ready, as in the beginning; or tell them why not, by the first reason."""
        if why_not is None:
            self._long.clear()
        elif not self._long.is_set():
            self._why = why_not
            self._long.set()

    def _decide(self, outcome: str | MariTalkError) -> None:
        self._outcome = outcome
        self._decided.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        reading = scope["method"] in ("GET", "HEAD")
        if reading and scope["path"] == server_metrics.PATH and not self._is_open:
            # Also when none will come: that is what is looked for then.
            await server_metrics.response(self._registry)(scope, receive, send)
            return
        if reading and not self._decided.is_set() and (answer := await self._at_once(scope["path"])):
            await answer(scope, receive, send)
            return
        if not await self._worth_waiting():
            await error_response(scope["path"], self._why, _CLOSE)(scope, receive, send)
            return
        if isinstance(self._outcome, MariTalkError):
            # What keeps the engine from coming may come later, to another server at this address.
            told = Unavailable(self._outcome.message, self._outcome.hint)
            await error_response(scope["path"], told, _CLOSE)(scope, receive, send)
        else:
            await _forward(self._outcome, scope, receive, send)

    async def _worth_waiting(self) -> bool:
        """Until it is decided what comes; False as soon as that may take long."""
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._decided, self._long)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        return self._decided.is_set()

    @property
    def _is_open(self) -> bool:
        return self._decided.is_set() and isinstance(self._outcome, str)

    async def _at_once(self, path: str) -> Response | None:
        """The answer to a question that does not wait for the engine; None if the engine is there meanwhile."""
        if path != "/":
            return error_response(path, _LOADING, _CLOSE)
        try:
            await asyncio.wait_for(self._decided.wait(), HOLD_SECONDS)
        except TimeoutError:
            return JSONResponse({"status": "loading"}, headers=_CLOSE)
        return None


async def _forward(url: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass one request on, and its answer back as it comes. A client that hangs up ends both."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    with contextlib.suppress(ClientDisconnected):
        await cancel_on_disconnect(receive, _pass_on_or_refuse(url, scope, body, send))


async def _pass_on_or_refuse(url: str, scope: Scope, body: bytes, send: Send) -> None:
    """As `_pass_on`, and a word to those who get no answer: the engine may die before it has answered what waited."""
    import httpx

    begun = False

    async def send_noting(message: MutableMapping[str, Any]) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await _pass_on(url, scope, body, send_noting)
    except httpx.TransportError:
        if begun:
            raise
        await error_response(scope["path"], _DIED, _CLOSE)(scope, _nothing, send)


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}


async def _pass_on(url: str, scope: Scope, body: bytes, send: Send) -> None:
    import httpx

    query = scope["query_string"].decode("latin-1")
    target = url + scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP]
    async with (
        # To this machine itself, whose certificate is made out to another name.
        httpx.AsyncClient(timeout=None, trust_env=False, verify=False) as client,
        client.stream(scope["method"], target, headers=headers, content=body) as answer,
    ):
        kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _HOP_BY_HOP]
        start = {"type": "http.response.start", "status": answer.status_code}
        await send({**start, "headers": [*kept, (b"connection", b"close")]})
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
