"""The ASGI application that answers while no engine does: status at once, generation requests when it is ready."""

import asyncio

from prometheus_client import CollectorRegistry
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ...api.error_responses import error_response
from ...batches.upload import is_upload
from ...errors import MariTalkError, Unavailable
from ..status import server_metrics
from ..status.server_state import Phase
from .engine_proxy import EngineProxy

HOLD_SECONDS = 0.25
"""How long `GET /` waits before it answers `loading`: clients since 0.2.5 retry at once, without any pause."""

_LOADING = Unavailable("The model is still loading.", "Try again in a moment.")
_LOADED = Unavailable("The model has just loaded.", "Send the file again.")
_CLOSE = {"Connection": "close"}


class LoadingApp:
    """ASGI application used while the engine loads.

    Every response closes its connection, so that the client's next request reaches the engine.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """`registry`: the metrics for `/metrics` until the engine is ready."""
        self._registry = registry
        self._decided = asyncio.Event()
        self._outcome: EngineProxy | MariTalkError = _LOADING
        self._is_draining = False
        self._held_are_released = asyncio.Event()
        self._rejection: MariTalkError = _LOADING

    def engine_ready(self, url: str) -> None:
        """Forward held requests, and all later ones, to the engine at `url`."""
        self._set_outcome(EngineProxy(url))

    def fail(self, error: MariTalkError, *, is_draining: bool = False) -> None:
        """Answer held requests, and all later ones, with `error`: the engine will not start.

        `is_draining`: because the server stops, which `GET /` reports as its status.
        """
        self._is_draining = is_draining
        self._set_outcome(error)

    def hold_or_reject(self, error: MariTalkError | None) -> None:
        """Hold requests until the engine is ready if `error` is None, which is the default; else reject them with it.

        While requests are rejected, a later error does not replace the first.
        """
        if self._decided.is_set():
            return
        if error is None:
            self._held_are_released.clear()
        elif not self._held_are_released.is_set():
            self._rejection = error
            self._held_are_released.set()

    def _set_outcome(self, outcome: EngineProxy | MariTalkError) -> None:
        self._outcome = outcome
        self._decided.set()
        self._held_are_released.set()

    async def close(self) -> None:
        """Close the connections to the engine, once the last request is answered."""
        if isinstance(self._outcome, EngineProxy):
            await self._outcome.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        is_read = scope["method"] in ("GET", "HEAD")
        if is_read and scope["path"] == server_metrics.PATH and not self._is_engine_ready:
            # Also after a failure, which is when operators look at the metrics.
            metrics = await server_metrics.response(self._registry)
            await metrics(scope, receive, send)
            return
        if is_read and not self._decided.is_set() and (response := await self._immediate_response(scope["path"])):
            await response(scope, receive, send)
            return
        await self._held_are_released.wait()
        if not self._decided.is_set():
            await error_response(scope["path"], self._rejection, _CLOSE)(scope, receive, send)
            return
        if isinstance(self._outcome, MariTalkError):
            if self._is_draining and is_read and scope["path"] == "/":
                await JSONResponse({"status": Phase.DRAINING.value}, headers=_CLOSE)(scope, receive, send)
                return
            # 503 for every error: another server at this address may answer later.
            error = Unavailable(self._outcome.message, self._outcome.hint)
            await error_response(scope["path"], error, _CLOSE)(scope, receive, send)
        elif is_upload(scope["method"], scope["path"]):
            # It may be too large to be passed on: the client's next attempt reaches the engine's process.
            await error_response(scope["path"], _LOADED, _CLOSE)(scope, receive, send)
        else:
            await self._outcome.forward(scope, receive, send)

    @property
    def _is_engine_ready(self) -> bool:
        return self._decided.is_set() and isinstance(self._outcome, EngineProxy)

    async def _immediate_response(self, path: str) -> Response | None:
        """Return the response to a GET while the engine loads; None if that ends before the response is due."""
        if path != "/":
            return error_response(path, _LOADING, _CLOSE)
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                await self._decided.wait()
        except TimeoutError:
            return JSONResponse({"status": "loading"}, headers=_CLOSE)
        return None
