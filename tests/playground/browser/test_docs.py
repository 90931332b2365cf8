"""The API documentation in a real browser: it works, and contacts no other host."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from playwright.sync_api import Browser

from maritalk_vllm.api.openapi import use_relative_docs_urls
from tests.playground.browser.played import served

pytestmark = pytest.mark.page

PART_OF_VLLM = Path("entrypoints", "serve", "instrumentator", "static")


def test_docs_contact_no_other_host(browser: Browser) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.post("/generate")
    async def generate() -> dict[str, str]:
        return {"output": "um dois"}

    vllm = find_spec("vllm")
    assert vllm is not None
    assert vllm.origin is not None
    app.mount("/static", StaticFiles(directory=Path(vllm.origin).parent / PART_OF_VLLM))
    use_relative_docs_urls(app)
    asked: list[str] = []
    wrong: list[str] = []
    with served(app) as url:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda send_and_wait: wrong.append(send_and_wait.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{url}/docs")
        for click in (".opblock-summary", ".try-out__btn", ".execute"):
            page.click(click)
        page.wait_for_selector(".live-responses-table")
        assert "um dois" in page.inner_text(".live-responses-table")
        page.close()
    files = ("docs", "static/swagger-ui.css", "static/swagger-ui-bundle.js", "openapi.json", "generate")
    assert asked == [f"{url}/{file}" for file in files]
    assert wrong == []
