"""What the port answers before the engine can: the status at once, generation requests when it is ready."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..api.hangup import ClientGone, Receive, unless_gone
from ..errors import MariTalkError

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HOLD_SECONDS = 0.25
"""How long `GET /` waits before it says `loading`: clients since 0.2.5 ask again at once, without any pause."""

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"host"}


class Gate:
    """An ASGI application for the time of loading. Every answer closes its connection: the next finds the engine."""

    def __init__(self) -> None:
        self._decided = asyncio.Event()
        self._outcome: str | MariTalkError = ""

    def open(self, url: str) -> None:
        """The engine is ready: pass on to this address what waits here."""
        self._decide(url)

    def refuse(self, error: MariTalkError) -> None:
        """The engine will not come: tell those who wait."""
        self._decide(error)

    def _decide(self, outcome: str | MariTalkError) -> None:
        self._outcome = outcome
        self._decided.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        reading = scope["method"] in ("GET", "HEAD")
        if reading and not self._decided.is_set():
            if scope["path"] != "/":
                await _refuse(send, "The model is still loading. Try again in a moment.")
                return
            try:
                await asyncio.wait_for(self._decided.wait(), HOLD_SECONDS)
            except TimeoutError:
                await _respond(send, 200, {"status": "loading"})
                return
        await self._decided.wait()
        if isinstance(self._outcome, MariTalkError):
            await _refuse(send, str(self._outcome))
        else:
            await _forward(self._outcome, scope, receive, send)


async def _refuse(send: Send, sentence: str) -> None:
    """Not now: as MariTalk Local's clients, and OpenAI's, look for it, and as those of the legacy cloud API do."""
    await _respond(send, 503, {"error": sentence, "detail": sentence})


async def _respond(send: Send, status: int, content: dict[str, str]) -> None:
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
    with contextlib.suppress(ClientGone):
        await unless_gone(receive, _pass_on(url, scope, body, send))


async def _pass_on(url: str, scope: Scope, body: bytes, send: Send) -> None:
    import httpx

    query = scope["query_string"].decode("latin-1")
    target = url + scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    headers = [(name, value) for name, value in scope["headers"] if name not in _HOP_BY_HOP]
    async with (
        httpx.AsyncClient(timeout=None, trust_env=False) as client,
        client.stream(scope["method"], target, headers=headers, content=body) as answer,
    ):
        kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _HOP_BY_HOP]
        start = {"type": "http.response.start", "status": answer.status_code}
        await send({**start, "headers": [*kept, (b"connection", b"close")]})
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
