"""Requests for vLLM's chat and completions routes bypass its application, with the same answers as from it."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, StreamingResponse

from maritalk_vllm.api.cancellation import Cancellation
from maritalk_vllm.api.generation_routes import GenerationRoutes

PATHS = ("/v1/chat/completions", "/v1/completions")
HOST = "http://localhost:9000"


class Body(BaseModel):
    text: str
    stream: bool = False


class KnownError(Exception):
    pass


def decorated(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The endpoint with a decorator as vLLM's."""

    @functools.wraps(endpoint)
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        return await endpoint(*arguments, **named)

    return wrapper


class Application:
    """An application with routes as vLLM's. `passed` counts the requests that pass its layers, `ended` the endings."""

    def __init__(self, *, middleware: Sequence[type[Any]] = (), root_path: str = "", tracks_load: bool = False) -> None:
        self.passed = 0
        self.ended: list[str] = []
        self.entered = asyncio.Event()
        self.app = FastAPI(root_path=root_path)
        self.app.state.enable_server_load_tracking = tracks_load
        for path in PATHS:
            self.app.post(path)(decorated(self._endpoint()))
        self.app.post("/v1/responses")(decorated(self._endpoint()))
        self.app.add_middleware(CORSMiddleware, allow_origins=["*"])
        for each in middleware:
            self.app.add_middleware(each)  # type: ignore[arg-type]
        self.app.exception_handler(KnownError)(self._failure(HTTPStatus.IM_A_TEAPOT))
        self.app.exception_handler(Exception)(self._failure(HTTPStatus.INTERNAL_SERVER_ERROR))
        inner = self.app.build_middleware_stack()

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.passed += 1
            await inner(scope, receive, send)

        self.app.middleware_stack = counted
        self.direct = GenerationRoutes(self.app, self.app)

    def _endpoint(self) -> Callable[..., Any]:
        async def endpoint(request: Body, raw_request: Request) -> Any:
            assert raw_request.app is self.app
            if request.text == "known":
                raise KnownError("a known error")
            if request.text == "unknown":
                raise RuntimeError("another error")
            if request.text == "wait":
                try:
                    self.entered.set()
                    await asyncio.sleep(60)
                except asyncio.CancelledError:  # as vLLM's
                    self.ended.append("answer")
                    return JSONResponse({"error": "Client disconnected"}, 400)
            if request.stream:
                return StreamingResponse(self._events(request.text), media_type="text/event-stream")
            return JSONResponse({"text": request.text})

        return endpoint

    async def _events(self, text: str) -> AsyncIterator[str]:
        try:
            for word in text.split():
                yield f"data: {word}\n\n"
            self.entered.set()
            if text.endswith("..."):
                await asyncio.sleep(60)
        finally:
            self.ended.append("stream")

    @staticmethod
    def _failure(status: HTTPStatus) -> Callable[..., Any]:
        async def handle(request: Request, error: Exception) -> JSONResponse:
            return JSONResponse({"error": str(error), "path": request.url.path}, status)

        return handle

    async def post(self, url: str = PATHS[0], **named: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.direct, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            return await client.post(url, **named)


class Another:
    """A middleware that an operator adds."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


@pytest.mark.parametrize("path", PATHS)
def test_valid_requests_bypass_the_application(path: str) -> None:
    async def scenario() -> None:
        application = Application()
        response = await application.post(path, json={"text": "Olá"}, headers={"Origin": HOST})
        assert (response.status_code, response.json()) == (200, {"text": "Olá"})
        response = await application.post(path, json={"text": "um dois", "stream": True})
        assert response.text == "data: um\n\ndata: dois\n\n"
        assert response.headers["content-type"].startswith("text/event-stream")
        assert not application.passed

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"text": 1}},
        {"json": {}},
        {"json": []},
        {"content": b'{"text": "Ol', "headers": {"Content-Type": "application/json"}},
        {"content": b'{"text": "a"}', "headers": {"Content-Type": "text/plain"}},
        {"json": {"text": "a"}, "headers": {"Origin": "http://example.org"}},
        {"url": "/v1/responses", "json": {"text": "a"}},
    ],
)
def test_other_requests_have_the_applications_answer(request_: dict[str, Any]) -> None:
    async def scenario() -> None:
        application = Application()
        response = await application.post(**request_)
        assert application.passed == 1
        transport = httpx.ASGITransport(application.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            same = await client.post(**{"url": PATHS[0], **request_})
        assert response.status_code == same.status_code
        assert (response.content, response.headers) == (same.content, same.headers)

    asyncio.run(scenario())


@pytest.mark.parametrize("given", [{"middleware": (Another,)}, {"root_path": "/models/a"}, {"tracks_load": True}])
def test_an_application_with_more_layers_is_not_bypassed(given: dict[str, Any]) -> None:
    async def scenario() -> None:
        application = Application(**given)
        assert (await application.post(json={"text": "a"})).json() == {"text": "a"}
        assert application.passed == 1

    asyncio.run(scenario())


def test_errors_have_the_responses_of_the_applications_handlers() -> None:
    async def scenario() -> None:
        application = Application()
        response = await application.post(json={"text": "known"})
        assert response.status_code == HTTPStatus.IM_A_TEAPOT
        assert response.json() == {"error": "a known error", "path": PATHS[0]}
        response = await application.post(json={"text": "unknown"})
        assert response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
        assert response.json() == {"error": "another error", "path": PATHS[0]}
        with pytest.raises(RuntimeError, match="another error"):  # for the server's log
            await Exchange(application, {"text": "unknown"}).run()
        assert not application.passed

    asyncio.run(scenario())


class Exchange:
    """One request, and what is sent in response. Its client disconnects when `gone` is set."""

    def __init__(self, application: Application, body: dict[str, Any]) -> None:
        self._application = application
        self._messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        self.gone = asyncio.Event()
        self.sent: list[Any] = []

    async def run(self) -> None:
        headers = [(b"host", b"localhost:9000"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": PATHS[0], "query_string": b"", "headers": headers}
        await self._application.direct(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if self._messages:
            return self._messages.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


@pytest.mark.parametrize(
    ("body", "ended"), [({"text": "wait"}, "answer"), ({"text": "um dois ...", "stream": True}, "stream")]
)
def test_a_disconnect_ends_the_work_for_a_request(body: dict[str, Any], ended: str) -> None:
    async def scenario() -> None:
        application = Application()
        exchange = Exchange(application, body)
        task = asyncio.create_task(exchange.run())
        await application.entered.wait()
        before = list(exchange.sent)
        exchange.gone.set()
        await asyncio.wait_for(task, 10)
        assert application.ended == [ended]
        assert exchange.sent == before

    asyncio.run(scenario())


def test_vllm_does_not_answer_a_request_that_the_server_ends() -> None:
    """vLLM catches the cancellation, and would say that the client has disconnected. The server answers itself."""

    async def scenario() -> None:
        application, cancellation = Application(), Cancellation()
        exchange = Exchange(application, {"text": "wait"})

        async def request() -> None:
            with cancellation:
                await exchange.run()

        task = asyncio.create_task(request())
        await application.entered.wait()
        cancellation.cancel()
        await asyncio.wait_for(task, 10)
        assert application.ended == ["answer"]
        assert not exchange.sent

    asyncio.run(scenario())
