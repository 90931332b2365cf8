"""The page that displays /openapi.json."""

import asyncio
import re
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from maritalk_vllm.api.docs_page import serve_docs
from tests.api.test_openapi import OURS
from tests.serving import Server


def test_docs_page_loads_only_local_assets(shared_server: Server) -> None:
    page = shared_server.ask("/docs").body.decode()
    needed = re.findall(r'<script src="(.*?)"|<link (?:type="text/css" )?rel=".*?" href="(.*?)"', page)
    sizes = {address: len(shared_server.ask(f"/{address}").body) for address in map("".join, needed)}
    assert sizes.keys() == {"static/swagger-ui.css", "static/swagger-ui-bundle.js", "chat/icon.svg"}
    assert min(sizes.values()) > 300
    assert set(shared_server.ask("/openapi.json").json["paths"]) > {path for _, path in OURS}


def test_docs_page_uses_relative_urls() -> None:
    """So that a proxy may serve it below any path."""
    app = FastAPI(docs_url=None)

    @app.get("/docs")
    async def of_vllm() -> str:
        return "vLLM's"

    async def page() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.get("/docs")

    serve_docs(app)
    assert "vLLM's" in asyncio.run(page()).text
    app.mount("/static", FastAPI())
    serve_docs(app)
    shown = asyncio.run(page())
    links = re.findall(r"""(?:href|src)="(.*?)"|url: '(.*?)'""", shown.text)
    assert {one or other for one, other in links} == {
        "static/swagger-ui.css",
        "static/swagger-ui-bundle.js",
        "openapi.json",
        "chat/icon.svg",
    }
    # The policy forbids the page's script all other hosts, such as its default validator.
    policy = dict(each.split(" ", 1) for each in shown.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {source for sources in policy.values() for source in sources.split() if "sha256" not in source} == {
        *("'none'", "'self'", "'unsafe-inline'", "data:")
    }
    assert "unsafe" not in policy["script-src"]


def test_the_schema_is_made_once_and_beside_other_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes vLLM's application a second or more."""
    app = FastAPI()
    app.mount("/static", FastAPI())
    plain, made = app.openapi, 0

    def slow() -> dict[str, Any]:
        nonlocal made
        if app.openapi_schema is None:
            made += 1
            time.sleep(0.5)
        return plain()

    monkeypatch.setattr(app, "openapi", slow)
    serve_docs(app)

    async def requests() -> float:
        """Send two requests, and return the longest time in seconds for which the event loop did not run."""
        transport = httpx.ASGITransport(app, root_path="/below")
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            both = asyncio.gather(client.get("/below/openapi.json"), client.get("/below/openapi.json"))
            longest, last = 0.0, time.monotonic()
            while not both.done():
                await asyncio.sleep(0.01)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            for response in await both:
                assert response.json()["servers"] == [{"url": "/below"}]
        return longest

    assert asyncio.run(requests()) < 0.4
    assert made == 1
