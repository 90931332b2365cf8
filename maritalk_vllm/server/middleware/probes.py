"""The health probes `/livez`, `/readyz` and `/health`, served in every phase."""

from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ...api.error_responses import UNAVAILABLE_HEADERS
from ..status.server_state import Phase, ServerState

LIVE, READY = "/livez", "/readyz"
HEALTH = "/health"
"""vLLM's own probe, which routers for vLLM request without a key. It responds like `/readyz`."""
PROBES = (LIVE, READY, HEALTH)


class Probes:
    """ASGI middleware that answers the probes. They need no key, and wait for nothing."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self._app = app
        self._handlers: dict[str, Callable[[], JSONResponse]] = {
            LIVE: self._live,
            READY: self._ready,
            HEALTH: self._ready,
        }
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a probe, or pass the request on."""
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in self._handlers:
            await self._handlers[scope["path"]]()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _live(self) -> JSONResponse:
        return JSONResponse({"status": self._state.phase}, 503 if self._state.phase is Phase.FAILED else 200)

    def _ready(self) -> JSONResponse:
        state = self._state
        step = state.step or state.phase
        report: dict[str, object] = {"status": state.phase, "phase": step, "seconds": round(state.seconds, 1)}
        if state.fraction is not None:
            report["progress"] = round(state.fraction, 3)
        if problems := list(filter(None, state.files.values())):
            # The server stays ready despite them: it keeps using the last valid content of the files.
            report["problems"] = problems
        if state.reloads:
            report["reloads"] = state.reloads
            if state.not_applied:
                report["not_applied"] = state.not_applied
        if state.phase is Phase.READY:
            return JSONResponse(report)
        return JSONResponse(report, 503, UNAVAILABLE_HEADERS)
