"""The server's real middleware (page, authentication, probes) around a fake engine, whose responses each test sets."""

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
    """A fake engine: the responses to send, and the requests received."""

    url: str = ""
    state: ServerState = field(default_factory=lambda: ServerState(Phase.READY))
    chunks: list[str] = field(default_factory=lambda: ["Ol", "á!"])
    chunk_delay: float = 0
    stream_error: str = ""
    """Message of an error event at the end of a stream."""
    disconnects: bool = False
    error_response: tuple[int, str] | None = None
    """Status and message of a response in place of a stream."""
    metrics: str = ""
    usage: dict[str, int] = field(
        default_factory=lambda: {"completion_tokens": 49, "prompt_tokens": 20, "total_tokens": 69}
    )
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append({"path": request.url.path, **body})
        if self.error_response is not None:
            status, message = self.error_response
            return JSONResponse({"error": message}, status)
        return StreamingResponse(self._events(body["n"]), media_type="text/event-stream")

    async def complete(self, request: Request) -> Response:
        """Answer as vLLM's chat completions do."""
        self.requests.append({"path": request.url.path, **await request.json()})
        message = {"role": "assistant", "content": "".join(self.chunks)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse(
            {"id": "1", "object": "chat.completion", "created": 0, "model": "demo", "choices": [choice]}
        )

    async def _events(self, n: int) -> AsyncIterator[str]:
        yield ": keep-alive\n\n"
        for number in range(n):
            for chunk in [*self.chunks, *([f" ({number + 1})"] if n > 1 else [])]:
                await asyncio.sleep(self.chunk_delay)
                yield f"data: {json.dumps({'text': chunk, **({'index': number} if n > 1 else {})})}\n\n"
        if self.stream_error:
            yield f"event: error\ndata: {json.dumps({'error': self.stream_error})}\n\n"
        elif not self.disconnects:
            yield f"event: end\ndata: {json.dumps(self._end(n))}\n\n"

    def _end(self, n: int) -> dict[str, Any]:
        whole = "".join(self.chunks)
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
    stack = MiddlewareStack(
        fake_engine.app, access or AccessConfig(), fake_engine.state, unit, request_metrics(), is_demo=is_demo
    )
    with served(stack) as fake_engine.url:
        yield fake_engine


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Serve the application in another thread, since the browser's driver uses the event loop of this one."""
    started, stopping = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    urls: list[str] = []

    async def serve() -> None:
        async with running(app) as url:
            urls.append(url)
            started.set()
            await stopping.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
