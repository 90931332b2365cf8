"""The API documentation in a real browser: it works, and contacts no other host."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from playwright.sync_api import Browser

from maritalk_vllm.api.docs_page import serve_docs
from maritalk_vllm.api.local import GROUP as LOCAL
from maritalk_vllm.api.openapi_groups import VLLM
from maritalk_vllm.playground.page_middleware import Page
from maritalk_vllm.settings import TimeUnit
from tests.playground.browser.fake_engine import served

pytestmark = pytest.mark.page

VLLM_STATIC_FILES = Path("entrypoints", "serve", "instrumentator", "static")


def test_docs_begin_with_our_api_and_contact_no_other_host(browser: Browser) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": "0"}

    @app.post("/generate", tags=[LOCAL])
    async def generate() -> dict[str, str]:
        return {"output": "um dois"}

    vllm = find_spec("vllm")
    assert vllm is not None
    assert vllm.origin is not None
    app.mount("/static", StaticFiles(directory=Path(vllm.origin).parent / VLLM_STATIC_FILES))
    serve_docs(app)
    requested: list[str] = []
    errors: list[str] = []
    with served(Page(app, TimeUnit.MILLISECONDS)) as url:
        page = browser.new_page()
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}/docs")
        page.wait_for_selector(".opblock-tag")
        groups = page.eval_on_selector_all(".opblock-tag", "all => all.map(each => each.dataset.tag)")
        assert (groups[0], groups[-1]) == (LOCAL, VLLM)
        assert "curl http://localhost:9000/chat/generate" in page.locator(".opblock-tag pre").first.inner_text()
        for click in (".opblock-summary", ".try-out__btn", ".execute"):
            page.click(click)
        page.wait_for_selector(".live-responses-table")
        assert "um dois" in page.inner_text(".live-responses-table")
        page.close()
    assets = ("static/swagger-ui.css", "static/swagger-ui-bundle.js", "chat/icon.svg", "openapi.json")
    assert set(requested) == {f"{url}/{file}" for file in ("docs", *assets, "generate")}
    assert errors == []
