"""The page with the real server and engine: from loading, through a conversation, to the shutdown."""

import http.client
import json
import re
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from maritalk_vllm.api.local import GROUP as LOCAL
from tests.playground.browser.chromium import assert_accessible, picture
from tests.playground.browser.conftest import Open
from tests.playground.browser.test_chat import send_message
from tests.serving import Server, note

pytestmark = [pytest.mark.page, pytest.mark.nightly]  # by day: test_server_state.py, test_chat.py

KEY = "chave-da-pagina"
ROUNDS = 5
ANSWER_TOKENS = 8
LOADED_MILLISECONDS = 240_000
PHONE: ViewportSize = {"width": 390, "height": 780}

DEMO_QUESTIONS = {
    "What is the capital of Japan?": "The capital of Japan is Tokyo.",
    "Write a Python function that adds two numbers.": "def",
}
"""Questions with a part of the demo model's answer without sampling."""


@pytest.fixture
def server(tmp_path: Path, prepared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MARITALK_API_KEY", KEY)
    started = Server(tmp_path, "--cache-dir", str(prepared_cache))
    try:
        started.wait_for_port()
        yield started
    finally:
        started.stop()


def first_token_seconds(server: Server, prompt: str) -> float:
    """Seconds from the request to the first event, for a plain HTTP client."""
    body = json.dumps({"messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": ANSWER_TOKENS})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        started = time.perf_counter()
        connection.request("POST", "/chat/generate", body, {"Authorization": f"Bearer {KEY}"})
        answer = connection.getresponse()
        while not answer.readline().startswith(b"data: "):
            pass
        seconds = time.perf_counter() - started
        answer.read()
        return seconds
    finally:
        connection.close()


def set_longest(page: Page, tokens: int) -> None:
    page.get_by_role("button", name="Ajustes").click()
    page.get_by_label("Tamanho máximo").fill(str(tokens))
    page.keyboard.press("Escape")


def stop_answer(page: Page) -> None:
    expect(page.locator(".assistant.running .body")).to_contain_text(re.compile(r"\w"))
    page.keyboard.press("Escape")
    expect(page.locator(".assistant").last.locator(".note")).to_contain_text("Interrompida")


def test_page_from_loading_to_shutdown(server: Server, open_tab: Open) -> None:
    tab = open_tab(f"http://127.0.0.1:{server.port}")
    page = tab.page

    # A browser that opens the root URL gets the page, while the model loads, without a key.
    page.goto(f"{tab.url}/")
    assert page.url == f"{tab.url}/chat"
    expect(page.locator("#banner")).to_contain_text("O modelo está carregando.")
    expect(page.locator("#banner-step")).to_have_text(re.compile("Iniciando|Importando|Carregando"))
    expect(page.locator("#state-name")).to_have_text("carregando")
    picture(page, "loading")
    assert_accessible(page, "loading")
    page.get_by_label("Sua mensagem").fill("Count from one to five.")

    # Once loaded, the page continues by itself and asks for the key.
    expect(page.locator("#banner")).to_be_hidden(timeout=LOADED_MILLISECONDS)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Este servidor pede uma chave")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#state-name")).to_have_text("livre")
    expect(page.locator("#model")).to_have_text("demo")

    # The draft typed meanwhile is still there, and is answered.
    page.get_by_role("button", name="Ajustes").click()
    page.get_by_label("Amostragem").uncheck()
    page.get_by_label("Tamanho máximo").fill("48")
    page.keyboard.press("Escape")
    page.get_by_label("Sua mensagem").press("Enter")
    expect(page.locator(".assistant .figures")).to_be_visible(timeout=60_000)
    expect(page.locator(".user .body")).to_have_text("Count from one to five.")
    expect(page.locator(".assistant .body")).to_contain_text(re.compile(r"\w"))
    figures = page.locator(".assistant .figures").inner_text()
    assert re.search(r"fila \d.*s\W+entrada [\d,.]+ m?s \(\d+ tokens\)\W+resposta [\d,.]+ m?s \(\d+ tokens\)", figures)
    rate = re.search(r"([\d.,]+) tokens/s", figures)
    assert rate and float(rate[1].replace(",", ".")) > 0

    show_real_answers(page)

    # The status bar shows the running answer; once it is stopped, the engine is idle.
    set_longest(page, 512)
    send_message(page, "Write a long story about a parrot.")
    expect(page.locator("#running")).to_have_text("1")
    expect(page.locator("#state-name")).to_have_text("ocupado")
    stop_answer(page)
    expect(page.locator("#state-name")).to_have_text("livre")

    compare_first_tokens(server, page)

    # Text completion with few-shot examples.
    page.get_by_role("link", name="Texto").click()
    page.get_by_role("button", name="Exemplo").click()
    page.get_by_role("button", name="Continuar").click()
    expect(page.locator("#text .figures")).to_contain_text("(2 tokens)")
    expect(page.locator(".output pre")).to_have_text(re.compile(r"\w"))
    assert_accessible(page, "the text")
    picture(page, "text")
    page.get_by_role("link", name="Conversa").click()

    show_docs(page, tab.url)

    # The server stops; the draft stays.
    page.get_by_label("Sua mensagem").fill("ainda não enviada")
    server.stop()
    expect(page.locator("#banner")).to_contain_text("O servidor não responde.")
    expect(page.get_by_label("Sua mensagem")).to_have_value("ainda não enviada")


def show_real_answers(page: Page) -> None:
    """A conversation with good answers of the demo model, for the screenshots."""
    page.get_by_role("button", name="Nova conversa").click()
    set_longest(page, 120)
    for number, (question, answer) in enumerate(DEMO_QUESTIONS.items(), 1):
        send_message(page, question)
        expect(page.locator(".assistant .figures")).to_have_count(number, timeout=60_000)
        expect(page.locator(".assistant .body").last).to_contain_text(answer)
    expect(page.locator(".hljs-keyword").first).to_have_text("def")
    picture(page, "chat")
    desk = page.viewport_size
    page.set_viewport_size(PHONE)
    picture(page, "phone")
    assert desk
    page.set_viewport_size(desk)


def show_docs(page: Page, url: str) -> None:
    """/docs, which a browser without the key cannot open."""
    docs = page.context.new_page()
    docs.set_extra_http_headers({"Authorization": f"Bearer {KEY}"})
    docs.goto(f"{url}/docs")
    expect(docs.locator(".opblock-tag").first).to_contain_text(LOCAL, timeout=60_000)
    picture(docs, "docs")
    docs.close()


# The script runs in the page: polling it from here would take CPU time from the engine.
FIRST_TOKEN = """
() => new Promise((resolve) => {
  let shown, request;
  const observer = new PerformanceObserver((list) => {
    shown ??= list.getEntriesByName("first token")[0];
    request ??= list.getEntriesByType("resource").find(({ name }) => name.endsWith("/chat/generate"));
    if (!shown || !request) return;
    observer.disconnect();
    resolve([shown.duration, request.responseStart - request.requestStart]);
  });
  observer.observe({ entryTypes: ["measure", "resource"] });
  document.getElementById("send").click();
})
"""


def compare_first_tokens(server: Server, page: Page) -> None:
    """Compare the time to the first token of the page and of a plain client, alternating, with different prompts.

    Engine and browser share the machine's processors here, so that the engine reads a question more slowly while the
    page renders it: the page's own time, before its request and after the first byte, is measured separately.
    """
    plain, shown, own = [], [], []
    set_longest(page, ANSWER_TOKENS)
    for number in range(ROUNDS):
        plain.append(1000 * first_token_seconds(server, f"Tell me about the number {1000 + number}."))
        page.get_by_role("button", name="Nova conversa").click()
        page.get_by_label("Sua mensagem").fill(f"Tell me about the number {2000 + number}.")
        first_token, server_time = page.evaluate(FIRST_TOKEN)
        expect(page.locator(".assistant .figures")).to_be_visible()
        shown.append(first_token)
        own.append(first_token - server_time)
    page_ms, plain_ms, own_ms = (statistics.median(each) for each in (shown, plain, own))
    note(
        f"page: the first token is shown after {page_ms:.0f} ms, of which {own_ms:.0f} ms are the page's own; a plain "
        f"client has it after {plain_ms:.0f} ms"
    )
