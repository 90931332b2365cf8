"""The ASGI application that answers while no engine does: status at once, generation requests when it is ready."""

import asyncio
import contextlib
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ...api.cancellation import ClientDisconnected, cancel_on_disconnect
from ...api.error_responses import error_response
from ...errors import MariTalkError, Unavailable
from ..status import server_metrics

HOLD_SECONDS = 0.25
"""How long `GET /` waits before it answers `loading`: clients since 0.2.5 retry at once, without any pause."""

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer"}
_LOADING = Unavailable("The model is still loading.", "Try again in a moment.")
_DIED = Unavailable("The engine has died, and is started again.", "Try again in a moment.")
_CLOSE = {"Connection": "close"}


class LoadingApp:
    """ASGI application used while the engine loads.

    Every response closes its connection, so that the client's next request reaches the engine.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """`registry`: the metrics for `/metrics` until the engine is ready."""
        self._registry = registry
        self._decided = asyncio.Event()
        self._outcome: str | MariTalkError = ""
        self._rejecting = asyncio.Event()
        self._rejection: MariTalkError = _LOADING

    def engine_ready(self, url: str) -> None:
        """Forward held requests, and all later ones, to the engine at `url`."""
        self._set_outcome(url)

    def fail(self, error: MariTalkError) -> None:
        """Answer held requests, and all later ones, with `error`: the engine will not start."""
        self._set_outcome(error)

    def hold_or_reject(self, error: MariTalkError | None) -> None:
        """Hold requests until the engine is ready if `error` is None, which is the default; else reject them with it.

        While requests are rejected, a later error does not replace the first.
        """
        if error is None:
            self._rejecting.clear()
        elif not self._rejecting.is_set():
            self._rejection = error
            self._rejecting.set()

    def _set_outcome(self, outcome: str | MariTalkError) -> None:
        self._outcome = outcome
        self._decided.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        is_read = scope["method"] in ("GET", "HEAD")
        if is_read and scope["path"] == server_metrics.PATH and not self._is_engine_ready:
            # Also after a failure, which is when operators look at the metrics.
            await server_metrics.response(self._registry)(scope, receive, send)
            return
        if is_read and not self._decided.is_set() and (response := await self._immediate_response(scope["path"])):
            await response(scope, receive, send)
            return
        if not await self._wait_for_decision():
            await error_response(scope["path"], self._rejection, _CLOSE)(scope, receive, send)
            return
        if isinstance(self._outcome, MariTalkError):
            # 503 for every error: another server at this address may answer later.
            error = Unavailable(self._outcome.message, self._outcome.hint)
            await error_response(scope["path"], error, _CLOSE)(scope, receive, send)
        else:
            await _forward(self._outcome, scope, receive, send)

    async def _wait_for_decision(self) -> bool:
        """Wait until the engine is ready or has failed; return False if requests are rejected before."""
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._decided, self._rejecting)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        return self._decided.is_set()

    @property
    def _is_engine_ready(self) -> bool:
        return self._decided.is_set() and isinstance(self._outcome, str)

    async def _immediate_response(self, path: str) -> Response | None:
        """Return the response to a GET while the engine loads; None if that ends before the response is due."""
        if path != "/":
            return error_response(path, _LOADING, _CLOSE)
        try:
            await asyncio.wait_for(self._decided.wait(), HOLD_SECONDS)
        except TimeoutError:
            return JSONResponse({"status": "loading"}, headers=_CLOSE)
        return None


async def _forward(url: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Forward one request to the engine and stream its response back. A client disconnect cancels the request."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    with contextlib.suppress(ClientDisconnected):
        await cancel_on_disconnect(receive, _proxy_or_reject(url, scope, body, send))


async def _proxy_or_reject(url: str, scope: Scope, body: bytes, send: Send) -> None:
    """Proxy the request; send an error response if the engine dies before its response begins."""
    import httpx

    is_started = False

    async def send_tracked(message: MutableMapping[str, Any]) -> None:
        nonlocal is_started
        is_started = True
        await send(message)

    try:
        await _proxy(url, scope, body, send_tracked)
    except httpx.TransportError:
        if is_started:
            raise
        await error_response(scope["path"], _DIED, _CLOSE)(scope, _receive_disconnect, send)


async def _receive_disconnect() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}


async def _proxy(url: str, scope: Scope, body: bytes, send: Send) -> None:
    import httpx

    query = scope["query_string"].decode("latin-1")
    target = url + scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP]
    async with (
        # The certificate is not verified: the target is this machine, by an address that is not in the certificate.
        httpx.AsyncClient(timeout=None, trust_env=False, verify=False) as client,
        client.stream(scope["method"], target, headers=headers, content=body) as response,
    ):
        kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
        start = {"type": "http.response.start", "status": response.status_code}
        await send({**start, "headers": [*kept, (b"connection", b"close")]})
        async for chunk in response.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
