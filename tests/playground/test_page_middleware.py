"""The page over real sockets, in front of a stub for the rest of the server."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from maritalk_vllm.models.demo_model import NOTICE
from maritalk_vllm.playground.page_middleware import SECURITY, Page
from maritalk_vllm.playground.static_files import STATIC
from maritalk_vllm.server.loading.loading_app import LoadingApp
from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.server.status.server_state import ServerState
from maritalk_vllm.settings import TimeUnit
from tests.counting import request_metrics
from tests.server.loading.test_loading_app import running

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def inner_app(scope: Scope, receive: Receive, send: Send) -> None:
    answer = PlainTextResponse("" if scope["method"] == "HEAD" else f"inside {scope['path']}", 207)
    await answer(scope, receive, send)


PAGE = Page(inner_app, TimeUnit.SECONDS)


def with_page(scenario: Callable[[httpx.AsyncClient], Awaitable[None]], app: object = PAGE) -> None:
    async def run() -> None:
        async with running(app) as url, httpx.AsyncClient(base_url=url) as client:
            await scenario(client)

    asyncio.run(run())


def test_every_file_has_its_headers() -> None:
    kinds = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript"}
    kinds |= {".json": "application/json", ".svg": "image/svg+xml", ".woff2": "font/woff2"}

    async def scenario(client: httpx.AsyncClient) -> None:
        for file in (path for path in STATIC.rglob("*") if path.suffix in kinds):
            name = file.relative_to(STATIC).as_posix()
            path = "/chat" if name == "index.html" else f"/chat/{name}"
            answer, head = await client.get(path), await client.head(path)
            assert (answer.status_code, answer.content) == (200, file.read_bytes()), path
            assert answer.headers["content-type"].partition(";")[0] == kinds[file.suffix]
            assert answer.headers["cache-control"] == "no-cache"
            for header, value in SECURITY.items():
                assert answer.headers[header] == value, path
            # HEAD: the same headers without the content.
            assert (head.status_code, head.content) == (200, b"")
            assert {**head.headers, "date": ""} == {**answer.headers, "date": ""}

    with_page(scenario)


def test_content_security_policy() -> None:
    policy = dict(each.split(" ", 1) for each in SECURITY["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "font-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "dompurify",
    }


@pytest.mark.parametrize("mark", ["{}", "W/{}", '"other", {}', '"other",W/{} , "third"'])
def test_unchanged_file_is_not_sent_again(mark: str) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        etag = (await client.get("/chat")).headers["etag"]
        again = await client.get("/chat", headers={"If-None-Match": mark.format(etag)})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert "content-length" not in again.headers or again.headers["content-length"] == "0"
        assert again.headers["content-security-policy"] == SECURITY["Content-Security-Policy"]
        changed = await client.get("/chat", headers={"If-None-Match": mark.format('"old"')})
        assert changed.status_code == 200

    with_page(scenario)


def test_etags_are_distinct() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        paths = PAGE.paths - {"/chat/server.json"}
        assert len({(await client.get(path)).headers["etag"] for path in paths}) == len(paths)

    with_page(scenario)


@pytest.mark.parametrize(
    ("accept", "sent"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("application/json, TEXT/HTML;q=0.5", True),
        ("*/*", False),
        ("application/json", False),
        ("text/*", False),
        ("text/htmlx", False),
        ("", False),
        (None, False),
    ],
)
def test_only_browsers_are_redirected_to_the_page(accept: str | None, sent: bool) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        del client.headers["accept"]
        headers = {} if accept is None else {"Accept": accept}
        for method in ("GET", "HEAD"):
            answer = await client.request(method, "/", headers=headers)
            assert answer.status_code == (307 if sent else 207)
            if sent:
                # Relative, for a proxy with a path prefix.
                assert (answer.headers["location"], answer.headers["vary"]) == ("chat", "Accept")
        assert (await client.post("/", headers=headers)).status_code == 207

    with_page(scenario)


def test_other_requests_pass_through() -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        names = ("/", "/generate", "/nothing", "/index.html", "/js", "/js/", "/js/none.js", "/vendor/marked.LICENSE")
        for path in ("/chat/generate", *(f"/chat{name}" for name in names), "/chatter", "/CHAT", "/readyz"):
            answer = await client.get(path, headers={"Accept": BROWSER})
            assert (answer.status_code, answer.text) == (207, f"inside {path}")
        for path in ("/chat", "/chat/generate", "/chat/js/main.js", "/chat/server.json"):
            for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                assert (await client.request(method, path)).status_code == 207, (method, path)

    with_page(scenario)


def test_path_traversal_is_impossible() -> None:
    async def scenario() -> None:
        answers: list[int] = []

        async def send(message: dict[str, object]) -> None:
            answers.extend([message["status"]] if "status" in message else [])  # type: ignore[list-item]

        for path in ("/chat/../files.py", "/chat//etc/passwd", "/chat/js/../../files.py", "/chat/%2e%2e/files.py"):
            scope: Scope = {"type": "http", "method": "GET", "path": path, "headers": []}
            await PAGE(scope, None, send)  # type: ignore[arg-type]
        assert answers == [207] * 4

    asyncio.run(scenario())


@pytest.mark.parametrize("unit", TimeUnit)
@pytest.mark.parametrize("is_demo", [True, False])
def test_server_json_has_the_time_unit_and_whether_the_model_is_the_demo(unit: TimeUnit, is_demo: bool) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.get("/chat/server.json")
        assert answer.json() == {"time_unit": unit.value, "demo": NOTICE if is_demo else None}
        assert answer.headers["cache-control"] == "no-cache"

    with_page(scenario, Page(inner_app, unit, is_demo=is_demo))


def test_page_is_served_while_loading_and_without_a_key() -> None:
    state = ServerState()
    access = AccessConfig(digests=(hash_key("chave"),))
    app = MiddlewareStack(
        LoadingApp(CollectorRegistry()), access, state, TimeUnit.MILLISECONDS, request_metrics(), is_loading=True
    )

    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).json()["status"] == "loading"
        assert (await client.get("/", headers={"Accept": BROWSER})).status_code == 307
        for path in ("/chat", "/chat/js/main.js", "/chat/server.json"):
            assert (await client.get(path)).status_code == 200
        for path in ("/", "/metrics", "/chat/nothing", "/v1/models"):
            assert (await client.get(path)).status_code == 401
        assert (await client.post("/chat/generate", json={})).status_code == 401

    with_page(scenario, app)


def test_page_imports_no_torch_and_reads_files_lazily() -> None:
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "read = []\n"
        "whole = Path.read_bytes\n"
        "Path.read_bytes = lambda self: read.append(self.name) or whole(self)\n"
        "from maritalk_vllm.playground.page_middleware import Page\n"
        "page = Page(None, 'ms')\n"
        "print(json.dumps([sorted({'torch', 'vllm', 'fastapi'} & sys.modules.keys()), read, len(page.paths)]))"
    )
    heavy, read, count = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout)
    assert (heavy, read) == ([], [])
    assert count > 30
