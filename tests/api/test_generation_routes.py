"""Requests for vLLM's generation routes bypass its application, with the same responses as from it."""

import asyncio
import functools
import gc
import json
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, StreamingResponse

from maritalk_vllm.api.cancellation import Cancellation
from maritalk_vllm.api.generation_routes import GenerationRoutes
from maritalk_vllm.api.request_parsing import PARSED_BODY

CHAT = "/v1/chat/completions"
HOST = "http://localhost:9000"


class Body(BaseModel):
    text: str
    stream: bool = False
    number: float = 0


class KnownError(Exception):
    pass


def with_cancellation(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator by the name of vLLM's."""

    @functools.wraps(function)
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        return await function(*arguments, **named)

    return wrapper


def load_aware_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator by the name of vLLM's."""

    @functools.wraps(function)
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        return await function(*arguments, **named)

    return wrapper


async def validate_json_request(raw_request: Request) -> None:
    """As vLLM's, by the same name."""
    if raw_request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "no JSON")


class Application:
    """An application with such decorators. `passed` counts the requests that pass its layers, `ended` how they end."""

    def __init__(self, *, middleware: Sequence[type[Any]] = (), root_path: str = "", tracks_load: bool = False) -> None:
        self.passed = 0
        self.ended: list[str] = []
        self.entered = asyncio.Event()
        self.app = FastAPI(root_path=root_path)
        self.app.state.enable_server_load_tracking = tracks_load
        checks = [Depends(validate_json_request)]

        async def create(request: Body, raw_request: Request) -> Any:
            return await self._answer(request, raw_request)

        self.app.post(CHAT, dependencies=checks)(with_cancellation(load_aware_call(create)))
        self.app.post("/one-decorator", dependencies=checks)(with_cancellation(create))
        self.app.post("/no-check")(with_cancellation(load_aware_call(create)))
        self.app.add_middleware(CORSMiddleware, allow_origins=["*"])
        for each in middleware:
            self.app.add_middleware(each)  # type: ignore[arg-type]
        self.app.exception_handler(KnownError)(self._failure)
        self.app.exception_handler(Exception)(self._failure)
        inner = self.app.build_middleware_stack()

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.passed += 1
            await inner(scope, receive, send)

        self.app.middleware_stack = counted
        self.direct = GenerationRoutes(self.app, self.app)

    async def _answer(self, request: Body, raw_request: Request) -> Any:
        assert raw_request.app is self.app
        assert json.loads(await raw_request.body())["text"] in (request.text, "bytes")
        if request.text == "known":
            raise KnownError("a known error")
        if request.text == "unknown":
            raise RuntimeError("another error")
        if request.text == "status":
            raise HTTPException(HTTPStatus.CONFLICT, "a conflict", {"X-Reason": "conflict"})
        if request.text.startswith("wait"):
            try:
                self.entered.set()
                await asyncio.sleep(60)
            except asyncio.CancelledError:  # as vLLM's
                self.ended.append("answer")
                if request.text == "wait, fail":
                    raise KnownError("the engine is dead") from None
                return JSONResponse({"error": "Client disconnected"}, 400)
        if request.stream:
            return StreamingResponse(self._events(request.text), media_type="text/event-stream")
        return JSONResponse({"text": request.text, "number": str(request.number)})

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
    async def _failure(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error), "path": request.url.path}, HTTPStatus.IM_A_TEAPOT)


class Another:
    """A middleware that an operator adds."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


class SameName(Another):
    """One with the name of one of vLLM's."""


SameName.__name__ = SameName.__qualname__ = "CORSMiddleware"


async def post(app: Any, request: dict[str, Any]) -> tuple[int, bytes, httpx.Headers]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
        response = await client.post(**{"url": CHAT, **request})
    return response.status_code, response.content, response.headers


def raw(body: bytes, content_type: str = "application/json") -> dict[str, Any]:
    return {"content": body, "headers": {"Content-Type": content_type}}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"json": {"text": "Olá"}}, 200),
        ({"json": {"text": "um dois", "stream": True}}, 200),
        ({"json": {"text": "known"}}, 418),
        ({"json": {"text": "unknown"}}, 418),
        ({"json": {"text": "status"}}, 409),
        (raw(b'{"text": "a", "number": NaN}'), 200),
        (raw(b'{"text": "a", "text": "b"}'), 200),
        (raw(b'\xef\xbb\xbf{"text": "a"}'), 200),
        (raw(b'{"text": "a", "number": 1' + b"0" * 300 + b"}"), 200),
        (raw(b'{"text": "a"}', "application/json; charset=utf-8"), 200),
    ],
)
def test_valid_requests_bypass_the_application(request_: dict[str, Any], status: int) -> None:
    async def scenario() -> None:
        application = Application()
        direct = await post(application.direct, request_)
        assert (direct[0], application.passed) == (status, 0)
        same = await post(application.app, request_)
        same[2].pop("vary", None)  # for requests of other origins
        assert direct == same

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"text": 1}},
        {"json": {}},
        {"json": []},
        raw(b""),
        raw(b'{"text": "Ol'),
        raw(b'{"text": ' + b"[" * 100_000),
        raw(b'{"text": "a"}', "text/plain"),
        {"json": {"text": "a"}, "headers": {"Origin": "http://example.org"}},
        {"url": "/one-decorator", "json": {"text": "a"}},
        {"url": "/no-check", "json": {"text": "a"}},
    ],
)
def test_other_requests_have_the_applications_response(request_: dict[str, Any]) -> None:
    async def scenario() -> None:
        application = Application()
        direct = await post(application.direct, request_)
        assert application.passed == 1
        assert direct == await post(application.app, request_)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "given",
    [{"middleware": (Another,)}, {"middleware": (SameName,)}, {"root_path": "/models/a"}, {"tracks_load": True}],
)
def test_an_application_with_more_layers_is_not_bypassed(given: dict[str, Any]) -> None:
    async def scenario() -> None:
        application = Application(**given)
        status, _, _ = await post(application.direct, {"json": {"text": "a"}})
        assert (status, application.passed) == (200, 1)

    asyncio.run(scenario())


class Exchange:
    """One request, and what is sent in response. Its client disconnects when `gone` is set, and may read nothing."""

    def __init__(self, application: Application, body: dict[str, Any], *, reads: bool = True) -> None:
        self._application = application
        self._messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        self._reads = reads
        self.gone = asyncio.Event()
        self.sent: list[Any] = []

    async def run(self) -> None:
        headers = [(b"host", b"localhost:9000"), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": CHAT, "query_string": b"", "headers": headers}
        await self._application.direct(scope, self._receive, self._send)

    async def _receive(self) -> Any:
        if self._messages:
            return self._messages.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if not self._reads and message["type"] == "http.response.body":
            self._application.entered.set()
            await asyncio.sleep(60)


def test_requests_of_the_same_origin_bypass_the_application() -> None:
    async def scenario() -> None:
        application = Application()
        status, _, headers = await post(application.direct, {"json": {"text": "a"}, "headers": {"Origin": HOST}})
        assert (status, application.passed) == (200, 0)
        assert "access-control-allow-origin" not in headers

    asyncio.run(scenario())


def test_an_unknown_error_reaches_the_servers_log() -> None:
    async def scenario() -> None:
        with pytest.raises(RuntimeError, match="another error"):
            await Exchange(Application(), {"text": "unknown"}).run()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("body", "reads", "ended"),
    [
        ({"text": "wait"}, True, "answer"),
        ({"text": "um dois ...", "stream": True}, True, "stream"),
        ({"text": "um dois ...", "stream": True}, False, "stream"),
    ],
)
def test_a_disconnect_ends_the_work_for_a_request(body: dict[str, Any], reads: bool, ended: str) -> None:
    async def scenario() -> None:
        application = Application()
        exchange = Exchange(application, body, reads=reads)
        task = asyncio.create_task(exchange.run())
        await application.entered.wait()
        before = list(exchange.sent)
        exchange.gone.set()
        await asyncio.wait_for(task, 10)
        assert application.ended == [ended]
        assert exchange.sent == before

    gc.disable()  # does not wait for the garbage collector
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


@pytest.mark.parametrize("text", ["wait", "wait, fail"])
def test_vllm_does_not_answer_a_request_that_the_server_ends(text: str) -> None:
    """vLLM catches the cancellation, and would say that the client has disconnected. The server answers itself."""

    async def scenario() -> None:
        application, cancellation = Application(), Cancellation()
        exchange = Exchange(application, {"text": text})

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


@pytest.mark.parametrize(("parsed", "text", "passed"), [({"text": "Olá"}, "Olá", 0), ({"text": 1}, "bytes", 1)])
def test_a_body_that_a_layer_has_parsed_is_not_parsed_again(parsed: object, text: str, passed: int) -> None:
    """The application, which answers if the route rejects the body, gets the bytes."""

    async def scenario() -> None:
        application = Application()

        async def with_body(scope: Any, receive: Any, send: Any) -> None:
            await application.direct({**scope, PARSED_BODY: parsed}, receive, send)

        response = await post(with_body, raw(b'{"text": "bytes"}'))
        assert (json.loads(response[1])["text"], application.passed) == (text, passed)

    asyncio.run(scenario())
