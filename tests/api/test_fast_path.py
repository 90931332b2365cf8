"""Requests to our own routes bypass vLLM's application, except cross-origin ones, which need its CORS."""

import asyncio
from argparse import Namespace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, Response

from maritalk_vllm.api.fast_path import FastPath
from maritalk_vllm.api.local import LocalRoute
from tests.serving import Server

HOST = (b"host", b"localhost:9000")
router = APIRouter(route_class=LocalRoute)


@router.post("/generate")
async def generate(request: Request) -> Response:
    return Response("direct")


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await Response("vLLM's")(scope, receive, send)


def responder(
    *headers: tuple[bytes, bytes], path: str = "/generate", middleware: tuple[str, ...] = (), method: str = "POST"
) -> str:
    """The application that responds: `direct` or `vLLM's`."""
    app = FastAPI()
    app.include_router(router)
    direct = FastPath(inner, app, Namespace(middleware=middleware, root_path="", enable_request_id_headers=False))
    sent: list[Any] = []
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [HOST, *headers]}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(direct(scope, receive, send))
    return b"".join(message.get("body", b"") for message in sent).decode()


def test_same_origin_requests_bypass_vllm() -> None:
    assert responder() == "direct"
    assert responder((b"origin", b"http://localhost:9000")) == "direct"
    assert responder((b"origin", b"https://localhost:9000")) == "direct"


@pytest.mark.parametrize("origin", [b"http://example.org", b"http://localhost:9001", b"http://localhost", b"null", b""])
def test_cross_origin_requests_go_through_vllm(origin: bytes) -> None:
    assert responder((b"origin", origin)) == "vLLM's"


def test_other_routes_and_custom_middleware_go_through_vllm() -> None:
    assert responder(path="/v1/models") == "vLLM's"
    assert responder(middleware=("mine.Layer",)) == "vLLM's"


@pytest.mark.parametrize("origin", ["http://example.org", "null"])
def test_cross_origin_request_is_forbidden(shared_server: Server, origin: str) -> None:
    url = f"http://127.0.0.1:{shared_server.port}/generate"
    answer = httpx.post(url, json={"prompt": "oi", "max_tokens": 1}, headers={"Origin": origin}, timeout=60)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_vllms_application_does_not_see_requests_for_the_busiest_routes(shared_server: Server) -> None:
    url = f"http://127.0.0.1:{shared_server.port}"

    def seen(path: str) -> float:
        samples = httpx.get(f"{url}/metrics", timeout=60).text.splitlines()
        name = f'http_requests_total{{handler="{path}"'
        return sum(float(line.rpartition(" ")[2]) for line in samples if line.startswith(name))

    body = {"model": "MariTalk", "prompt": "oi", "messages": [{"role": "user", "content": "oi"}], "max_tokens": 1}
    for path, field in (("/v1/completions", "messages"), ("/v1/chat/completions", "prompt")):
        before = seen(path)
        sent = {name: value for name, value in body.items() if name != field}
        assert httpx.post(f"{url}{path}", json=sent, timeout=60).status_code == 200
        assert seen(path) == before
        # It answers what is not valid.
        assert httpx.post(f"{url}{path}", json={**sent, "max_tokens": "x"}, timeout=60).status_code == 400
        assert seen(path) == before + 1


@router.get("/")
async def status(request: Request) -> Response:
    return Response(f"direct {request.method}")


@pytest.mark.parametrize("path", ["/", "/v1/models"])
def test_head_is_handled_as_get(path: str) -> None:
    """uvicorn omits the body, as its own tests show."""
    assert responder(path=path, method="HEAD") == responder(path=path, method="GET") != ""
