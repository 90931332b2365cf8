"""Requests to our own routes go past vLLM's application, but for those that its CORS has to see."""

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


async def inside(scope: Any, receive: Any, send: Any) -> None:
    await Response("vLLM's")(scope, receive, send)


def way(
    *headers: tuple[bytes, bytes], path: str = "/generate", middleware: tuple[str, ...] = (), method: str = "POST"
) -> str:
    """Who answers: `direct` or `vLLM's`."""
    app = FastAPI()
    app.include_router(router)
    direct = FastPath(app, Namespace(middleware=middleware, root_path="", enable_request_id_headers=False), inside)
    sent: list[Any] = []
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [HOST, *headers]}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(direct(scope, receive, send))
    return b"".join(message.get("body", b"") for message in sent).decode()


def test_programs_and_our_own_page_go_the_short_way() -> None:
    assert way() == "direct"
    assert way((b"origin", b"http://localhost:9000")) == "direct"
    assert way((b"origin", b"https://localhost:9000")) == "direct"


@pytest.mark.parametrize("origin", [b"http://example.org", b"http://localhost:9001", b"http://localhost", b"null", b""])
def test_pages_of_other_sites_go_the_long_way(origin: bytes) -> None:
    assert way((b"origin", origin)) == "vLLM's"


def test_other_routes_and_users_layers_are_vllms() -> None:
    assert way(path="/v1/models") == "vLLM's"
    assert way(middleware=("mine.Layer",)) == "vLLM's"


@pytest.mark.parametrize("origin", ["http://example.org", "null"])
def test_no_page_of_another_site_may_read_an_answer(shared_server: Server, origin: str) -> None:
    url = f"http://127.0.0.1:{shared_server.port}/generate"
    answer = httpx.post(url, json={"prompt": "oi", "max_tokens": 1}, headers={"Origin": origin}, timeout=60)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@router.get("/")
async def status(request: Request) -> Response:
    return Response(f"direct {request.method}")


@pytest.mark.parametrize("path", ["/", "/v1/models"])
def test_head_is_answered_as_get(path: str) -> None:
    """The server sends no body: uvicorn, as its own tests have it."""
    assert way(path=path, method="HEAD") == way(path=path, method="GET") != ""
