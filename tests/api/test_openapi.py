"""Our part of /openapi.json, which needs no engine, and the page that displays it."""

import asyncio
import re
from typing import Any

import httpx
import jsonschema
import pytest
from fastapi import FastAPI

from maritalk_vllm.api import cloud, local
from maritalk_vllm.api.openapi import use_relative_docs_urls
from tests.serving import Server

OURS = {
    ("get", "/"),
    ("post", "/generate"),
    ("post", "/chat/generate"),
    ("post", "/api/chat/inference"),
    ("get", "/api/chat/models"),
}
JSON = "application/json"


def operations() -> dict[tuple[str, str], Any]:
    app = FastAPI()
    app.include_router(local.router)
    app.include_router(cloud.router)
    return {
        (method, path): operation for path, each in app.openapi()["paths"].items() for method, operation in each.items()
    }


def test_all_our_routes_are_documented() -> None:
    assert operations().keys() == OURS


@pytest.mark.parametrize("route", sorted(OURS))
def test_examples_match_their_schemas(route: tuple[str, str]) -> None:
    operation = operations()[route]
    assert operation["summary"] and operation["description"] and operation["tags"]
    answer = operation["responses"]["200"]["content"][JSON]
    jsonschema.validate(answer["example"], answer["schema"])
    if route[0] == "get":
        return
    body = operation["requestBody"]["content"][JSON]
    assert len(body["examples"]) > 1
    for example in body["examples"].values():
        jsonschema.validate(example["value"], body["schema"])
    assert operation["responses"]["200"]["content"]["text/event-stream"]["example"].count("\n\n") > 1
    for status in ("400", "503"):
        error = operation["responses"][status]["content"][JSON]
        jsonschema.validate(error["example"], error["schema"])


def test_fields_have_limits_and_descriptions() -> None:
    body = operations()["post", "/generate"]["requestBody"]["content"][JSON]["schema"]
    assert body["required"] == ["prompt"]
    assert body["properties"]["top_p"]["exclusiveMinimum"] == 0
    for name, operation in body["properties"].items():
        if name != "prompt":
            assert "description" in str(operation), name


def test_docs_page_loads_only_local_assets(shared_server: Server) -> None:
    page = shared_server.ask("/docs").body.decode()
    needed = re.findall(r'<script src="(.*?)"|<link type="text/css" rel="stylesheet" href="(.*?)"', page)
    assert len(needed) == 2
    for address in map("".join, needed):
        assert address.startswith("static/")
        assert len(shared_server.ask(f"/{address}").body) > 10_000
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

    use_relative_docs_urls(app)
    assert "vLLM's" in asyncio.run(page()).text
    app.mount("/static", FastAPI())
    use_relative_docs_urls(app)
    shown = asyncio.run(page())
    links = re.findall(r"""(?:href|src)="(.*?)"|url: '(.*?)'""", shown.text)
    assert {one or other for one, other in links} == {
        "static/swagger-ui.css",
        "static/swagger-ui-bundle.js",
        "openapi.json",
        "data:,",
    }
    # The policy forbids the page's script all other hosts, such as its default validator.
    policy = dict(each.split(" ", 1) for each in shown.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {source for sources in policy.values() for source in sources.split() if "sha256" not in source} == {
        *("'none'", "'self'", "'unsafe-inline'", "data:")
    }
    assert "unsafe" not in policy["script-src"]
