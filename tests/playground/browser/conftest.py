"""Fixtures of the browser tests: the browser, and a server with a fake engine."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.playground.browser.chromium import Tab, launch, tab
from tests.playground.browser.fake_engine import FakeEngine, serve_fake_engine

Open = Callable[..., Tab]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Closed before the tests of other folders: its driver blocks other event loops in this thread."""
    with sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


@pytest.fixture
def fake_engine() -> Iterator[FakeEngine]:
    with serve_fake_engine() as server:
        yield server


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Open]:
    """Opens tabs; at the end asserts that none had an error or contacted another host."""
    tabs: list[Tab] = []

    def opening(url: str, **options: Any) -> Tab:
        tabs.append(tab(browser, url, **options))
        return tabs[-1]

    yield opening
    for each in tabs:
        each.page.context.close()
        each.assert_clean()
