"""Forwards the requests that were held while the engine loaded to the API process that serves it."""

import contextlib

import httpx
from starlette.types import Message, Receive, Scope, Send

from ...api.cancellation import ClientDisconnected, cancel_on_disconnect
from ...api.error_responses import error_response
from ...engine.vllm_arguments import MIN_QUEUED_REQUESTS
from ...errors import Unavailable

MAX_CONNECTIONS = MIN_QUEUED_REQUESTS
"""Requests that are forwarded at once; the others wait for these. vLLM's queue has room for as many on every machine,
and would reject more."""

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer"}
_DIED = Unavailable("The engine has died, and is started again.", "Try again in a moment.")


class EngineProxy:
    """An HTTP client for all requests to one API process. Call `close` after the last."""

    def __init__(self, url: str) -> None:
        """`url`: of the API process, without a path."""
        self._url = url
        # Each connection carries one request: the API process may close or transfer one that waits for the next.
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        # The certificate is not verified: the target is this machine, by an address that is not in the certificate.
        self._client = httpx.AsyncClient(timeout=None, trust_env=False, verify=False, limits=limits)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request and stream its response back. A client disconnect cancels the request."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        with contextlib.suppress(ClientDisconnected):
            await cancel_on_disconnect(scope, receive, self._proxy_or_reject(scope, bytes(body), send))

    async def _proxy_or_reject(self, scope: Scope, body: bytes, send: Send) -> None:
        """Proxy the request; send an error response if the engine dies before its response begins."""
        is_started = False

        async def send_tracked(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._proxy(scope, body, send_tracked)
        except httpx.TransportError:
            if is_started:
                raise
            await error_response(scope["path"], _DIED, {"Connection": "close"})(scope, _receive_disconnect, send)

    async def _proxy(self, scope: Scope, body: bytes, send: Send) -> None:
        query = scope["query_string"].decode("latin-1")
        target = self._url + scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP]
        async with self._client.stream(scope["method"], target, headers=headers, content=body) as response:
            kept = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in _HOP_BY_HOP]
            start = {"type": "http.response.start", "status": response.status_code}
            await send({**start, "headers": [*kept, (b"connection", b"close")]})
            async for chunk in response.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _receive_disconnect() -> Message:
    return {"type": "http.disconnect"}
