"""A real Chromium, and helpers for pages in it."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright, Request

SCRIPT = Path(__file__).parents[3] / "scripts" / "chromium"
MAX_PICTURE_BYTES = 200_000
SERIOUS_IMPACTS = ("serious", "critical")


def launch(playwright: Playwright) -> Browser:
    path = os.environ.get("CHROMIUM") or subprocess.run([SCRIPT], capture_output=True, text=True).stdout.strip()
    # A container has no user namespaces for the sandbox, and a small /dev/shm. Only our host name resolves.
    isolated = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage", isolated])


@dataclass
class Tab:
    """One tab, whose only network is our server. Its errors and requests to other hosts are recorded."""

    page: Page
    url: str
    foreign_requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def assert_clean(self) -> None:
        assert self.foreign_requests == []
        assert self.errors == []


def tab(browser: Browser, url: str, **options: Any) -> Tab:
    """Open `/chat` of a server. `options` are a browser context's: locale, color_scheme, viewport."""
    context = browser.new_context(**{"locale": "pt-BR", "viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(15_000)
    opened = Tab(context.new_page(), url)
    own_host = urlsplit(url).netloc

    def record(request: Request) -> None:
        address = urlsplit(request.url)
        if address.netloc != own_host and address.scheme != "blob":
            opened.foreign_requests.append(request.url)

    # Observed without interception, which would delay each request.
    context.on("request", record)
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.page.on(
        "console",
        lambda message: opened.errors.append(message.text) if _is_error(message.type, message.text) else None,
    )
    opened.page.goto(f"{url}/chat")
    opened.page.wait_for_selector("body.loaded")
    return opened


def _is_error(kind: str, text: str) -> bool:
    # The console also reports error statuses; the tests check how the page handles those.
    return kind == "error" and not text.startswith("Failed to load resource")


def assert_accessible(page: Page, state: str, schemes: tuple[str, ...] = ("light", "dark")) -> None:
    """Assert that axe reports no serious violation."""
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = [each for each in Axe().run(page).response["violations"] if each["impact"] in SERIOUS_IMPACTS]
        violations = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        assert violations == [], f"{state}, {scheme}"
    page.emulate_media(color_scheme="light", reduced_motion="no-preference")


def picture(page: Page, name: str) -> None:
    """Save a screenshot for docs/page.md to the folder that SCREENSHOTS names, if it is set."""
    if folder := os.environ.get("SCREENSHOTS"):
        content = page.screenshot(animations="disabled", caret="hide")
        assert len(content) < MAX_PICTURE_BYTES, name
        (Path(folder) / f"{name}.png").write_bytes(content)
