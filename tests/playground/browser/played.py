"""The server's real middleware (page, authentication, probes) around a fake engine, whose answers each test sets."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.server.status.server_state import Phase, ServerState
from maritalk_vllm.settings import TimeUnit
from tests.counting import request_metrics
from tests.server.loading.test_loading_app import running

TIMES = {"queue_time": 0, "prompt_time": 158, "generation_time": 1200}


@dataclass
class FakeEngine:
    """The fake engine: the answers to give, and the requests received."""

    url: str = ""
    state: ServerState = field(default_factory=lambda: ServerState(Phase.READY))
    pieces: list[str] = field(default_factory=lambda: ["Ol", "á!"])
    pause: float = 0
    fails: str = ""
    """Error message that a stream ends with."""
    breaks: bool = False
    refuses: tuple[int, str] | None = None
    """Status and message of an error response in place of a stream."""
    metrics: str = ""
    usage: dict[str, int] = field(
        default_factory=lambda: {"completion_tokens": 49, "prompt_tokens": 20, "total_tokens": 69}
    )
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append({"path": request.url.path, **asked})
        if self.refuses is not None:
            status, sentence = self.refuses
            return JSONResponse({"error": sentence}, status)
        return StreamingResponse(self._events(asked["n"]), media_type="text/event-stream")

    async def complete(self, request: Request) -> Response:
        """Answer as vLLM's chat completions do."""
        self.asked.append({"path": request.url.path, **await request.json()})
        message = {"role": "assistant", "content": "".join(self.pieces)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "demo", "choices": [choice]}
        )

    async def _events(self, n: int) -> AsyncIterator[str]:
        yield ": keep-alive\n\n"
        for number in range(n):
            for piece in [*self.pieces, *([f" ({number + 1})"] if n > 1 else [])]:
                await asyncio.sleep(self.pause)
                yield f"data: {json.dumps({'text': piece, **({'index': number} if n > 1 else {})})}\n\n"
        if self.fails:
            yield f"event: error\ndata: {json.dumps({'error': self.fails})}\n\n"
        elif not self.breaks:
            yield f"event: end\ndata: {json.dumps(self._end(n))}\n\n"

    def _end(self, n: int) -> dict[str, Any]:
        whole = "".join(self.pieces)
        several = {"outputs": [f"{whole} ({number + 1})" for number in range(n)]} if n > 1 else {}
        return {"output": whole, **TIMES, **several, "usage": self.usage, "finish_reason": "stop"}

    @property
    def app(self) -> Starlette:
        models = {"data": [{"id": "demo", "max_model_len": 8192, "context_length": 8192}]}
        return Starlette(
            routes=[
                Route("/generate", self.answer, methods=["POST"]),
                Route("/chat/generate", self.answer, methods=["POST"]),
                Route("/v1/chat/completions", self.complete, methods=["POST"]),
                Route("/v1/models", lambda _: JSONResponse(models)),
                Route("/version", lambda _: JSONResponse({"version": "0.33.0"})),
                Route("/metrics", lambda _: PlainTextResponse(self.metrics)),
            ]
        )


@contextmanager
def serve_fake_engine(
    unit: TimeUnit = TimeUnit.MILLISECONDS, access: AccessConfig | None = None, *, is_demo: bool = False
) -> Iterator[FakeEngine]:
    """Serve the fake engine."""
    fake_engine = FakeEngine()
    around = MiddlewareStack(
        fake_engine.app, access or AccessConfig(), fake_engine.state, unit, request_metrics(), is_demo=is_demo
    )
    with served(around) as fake_engine.url:
        yield fake_engine


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve the application in a separate thread, since the browser's driver uses this one."""
    begun, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    urls: list[str] = []

    async def serve() -> None:
        async with running(app) as url:
            urls.append(url)
            begun.set()
            await over.wait()

    def work() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
