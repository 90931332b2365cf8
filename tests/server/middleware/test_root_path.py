"""A server below a path of a proxy, which removes the path or keeps it."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.root_path import AddRootPath, RootPath
from maritalk_vllm.settings import Settings


async def show_path(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse([scope["path"], scope["raw_path"].decode()])(scope, receive, send)


def ask(root: str, path: str, method: str = "GET") -> httpx.Response:
    async def scenario() -> httpx.Response:
        transport = httpx.ASGITransport(RootPath(show_path, root))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path)

    return asyncio.run(scenario())


@pytest.mark.parametrize("root", ["/m", "/m/", "/a/m"])
@pytest.mark.parametrize("path", ["/", "/generate", "/chat", "/chat/app.js", "/docs", "/v1/a%2Fb", "/livez"])
def test_the_root_is_removed_once(root: str, path: str) -> None:
    bare = [path.replace("%2F", "/"), path]
    assert ask(root, root.rstrip("/") + path).json() == bare
    # The proxy has already removed it.
    assert ask(root, path).json() == bare


def test_a_path_that_only_starts_like_the_root_is_unchanged() -> None:
    assert ask("/m", "/models").json()[0] == "/models"
    assert ask("", "/m/generate").json()[0] == "/m/generate"


def test_the_root_itself_redirects_below_it() -> None:
    answer = ask("/a/m", "/a/m")
    assert (answer.status_code, answer.url.join(answer.headers["location"]).path) == (307, "/a/m/")
    assert ask("/m", "/m", "POST").json()[0] == "/"


def test_the_root_path_is_that_of_vllms_option() -> None:
    assert AccessConfig.from_settings(Settings(engine_args=("--root-path", "/m"))).root_path == "/m"
    assert AccessConfig.from_settings(Settings(engine_args=("--root-path=/m",))).root_path == "/m"
    assert AccessConfig.from_settings(Settings()).root_path == ""


@pytest.mark.parametrize("path", ["/m/static/a.css", "/static/a.css", "/m/b", "/b"])
def test_an_application_with_a_root_finds_its_routes_and_mounts(path: str) -> None:
    app, mounted = FastAPI(root_path="/m"), FastAPI()

    @mounted.get("/a.css")
    async def in_it() -> str:
        return "mounted"

    @app.get("/b")
    async def own() -> str:
        return "own"

    app.mount("/static", mounted)

    async def scenario() -> httpx.Response:
        transport = httpx.ASGITransport(RootPath(AddRootPath(app, "/m"), "/m"))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path)

    assert asyncio.run(scenario()).json() == ("mounted" if "static" in path else "own")
