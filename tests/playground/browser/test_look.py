"""Accessibility: keyboard, phone, both languages, light and dark, and axe's rules."""

import pytest
from playwright.sync_api import Page, expect

from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from tests.playground.browser.chromium import assert_accessible, picture
from tests.playground.browser.conftest import Open
from tests.playground.browser.fake_engine import FakeEngine, serve_fake_engine
from tests.playground.browser.test_chat import send_and_wait

pytestmark = pytest.mark.page

ANSWER = """Aqui está uma função que compara a palavra com ela mesma ao contrário:

```python
def eh_palindromo(palavra: str) -> bool:
    letras = [letra for letra in palavra.casefold() if letra.isalnum()]
    return letras == letras[::-1]
```

A comparação lê a palavra uma vez, em tempo $O(n)$:

$$p_i = p_{n-1-i} \\quad \\text{para } 0 \\le i < \\frac{n}{2}$$

- **`casefold`** ignora maiúsculas e minúsculas.
- **`isalnum`** deixa de lado espaços e pontuação.

| palavra | resposta |
|---|---|
| arara | sim |
| papagaio | não |
"""
METRICS = """vllm:num_requests_running{engine="0"} 0.0
vllm:num_requests_waiting{engine="0"} 0.0
vllm:kv_cache_usage_perc{engine="0"} 0.031
vllm:generation_tokens_total{engine="0"} 100
"""
PHONE = {"width": 320, "height": 640}


@pytest.fixture
def chatty_engine(fake_engine: FakeEngine) -> FakeEngine:
    fake_engine.chunks, fake_engine.metrics = [ANSWER], METRICS
    return fake_engine


def fits(page: Page) -> bool:
    """Whether nothing is wider than the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_keyboard_only(chatty_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(chatty_engine.url).page
    # The input has the focus at first, and the page's first link leads to it.
    expect(page.get_by_label("Sua mensagem")).to_be_focused()
    assert page.evaluate("document.querySelector('a, button, input, textarea').id") == "skip"
    expect(page.locator("#skip")).not_to_be_in_viewport()
    page.locator("#skip").focus()
    expect(page.locator("#skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Sua mensagem")).to_be_focused()
    page.keyboard.type("uma")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("duas")
    page.keyboard.press("Enter")
    expect(page.locator(".user .body")).to_have_text("uma\nduas")
    expect(page.locator(".assistant .figures")).to_be_visible()
    expect(page.get_by_label("Sua mensagem")).to_be_focused()
    # The focused element has a visible outline.
    focused = set()
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        name, outline = page.evaluate(
            """() => {
                const has = document.activeElement;
                // The message field shows the focus by its frame.
                const shows = has.id === "message" ? has.parentElement : has;
                return [has.id || has.ariaLabel, getComputedStyle(shows).outlineStyle];
            }"""
        )
        focused.add(name)
        assert outline == "solid" or not name, name
    assert {"Copiar", "Gerar outra resposta", "Editar a mensagem", "open-settings", "theme", "new"} <= focused
    more = page.locator("#conversations li").get_by_role("button", name="Ações")
    more.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Renomear")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Apagar")).to_be_focused()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()


@pytest.mark.parametrize(
    ("locale", "shown", "greeting"),
    [
        ("pt-BR", "pt-BR", "Sobre o que vamos conversar?"),
        ("pt-PT", "pt-BR", "Sobre o que vamos conversar?"),
        ("en-US", "en", "What shall we talk about?"),
        ("de-DE", "en", "What shall we talk about?"),
    ],
)
def test_language_of_the_browser(
    fake_engine: FakeEngine, open_tab: Open, locale: str, shown: str, greeting: str
) -> None:
    page = open_tab(fake_engine.url, locale=locale).page
    expect(page.locator("html")).to_have_attribute("lang", shown)
    expect(page.locator(".greeting")).to_have_text(greeting)


def test_switches_persist(chatty_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(chatty_engine.url).page
    send_and_wait(page, "oi")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_label("Your message")).to_have_attribute("placeholder", "Write a message")
    expect(page.locator(".figures")).to_contain_text("queue 0 ms")
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    switch = page.get_by_role("button", name="Dark theme")
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert light != dark
    page.reload()
    expect(page.get_by_label("Your message")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == dark


@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 800}], ids=["phone", "desk"])
def test_axe_reports_no_serious_violation(chatty_engine: FakeEngine, open_tab: Open, size: dict[str, int]) -> None:
    page = open_tab(chatty_engine.url, viewport=size).page
    # Colours do not depend on the width.
    schemes = ("light",) if size is PHONE else ("light", "dark")
    expect(page.locator("#model")).to_have_text("demo")
    assert fits(page)
    assert_accessible(page, "an empty conversation", schemes)
    send_and_wait(page, "Escreva uma função em Python que diga se uma palavra é um palíndromo.")
    assert fits(page)
    assert_accessible(page, "a conversation", schemes)
    if size is not PHONE:
        picture(page, "formulas")
    page.get_by_role("button", name="Ajustes").click()
    page.get_by_label("Probabilidade").fill("2")
    assert_accessible(page, "the settings", schemes)
    page.keyboard.press("Escape")
    if size is PHONE:
        page.get_by_role("button", name="Abrir as conversas").click()
        expect(page.get_by_role("button", name="Nova conversa")).to_be_focused()
    page.locator("#conversations").get_by_role("button", name="Ações").click()
    assert_accessible(page, "the list and its menu", schemes)
    page.get_by_role("menuitem", name="Apagar").click()
    assert_accessible(page, "a question", schemes)
    page.keyboard.press("Escape")
    if size is PHONE:
        page.get_by_role("button", name="Fechar as conversas").click()
    if size is not PHONE:
        page.get_by_role("button", name="Usar no seu código").click()
        assert_accessible(page, "a program", schemes)
        page.keyboard.press("Escape")
    page.locator("#model").click()
    assert fits(page)
    assert_accessible(page, "the model", schemes)
    page.keyboard.press("Escape")
    chatty_engine.error_response = (503, "The server has as many requests as it can take. Try again in a moment.")
    send_and_wait(page, "oi")
    assert_accessible(page, "an error", schemes)
    page.get_by_role("link", name="Texto").click()
    page.get_by_role("button", name="Exemplo").click()
    assert fits(page)
    assert_accessible(page, "the text", schemes)


def test_api_key_is_requested_and_kept_only_for_the_tab(open_tab: Open) -> None:
    with serve_fake_engine(access=AccessConfig(digests=(hash_key("chave"),))) as fake_engine:
        fake_engine.metrics = METRICS
        page = open_tab(fake_engine.url).page
        dialog = page.get_by_role("dialog", name="Este servidor pede uma chave")
        expect(dialog).to_be_visible()
        assert_accessible(page, "the key")
        page.get_by_role("button", name="Agora não").click()
        expect(page.get_by_role("button", name="Informar a chave")).to_be_visible()
        page.get_by_label("Sua mensagem").fill("oi")
        page.keyboard.press("Enter")
        field = dialog.get_by_label("Chave", exact=True)
        field.fill("errada")
        field.press("Enter")
        expect(dialog).to_contain_text("Esta chave não é válida.")
        field.fill("chave")
        field.press("Enter")
        # The question that was sent without a key is answered without another action.
        expect(page.locator(".assistant .body")).to_have_text("Olá!")
        expect(page.locator("#state-name")).to_have_text("livre")
        assert "chave" not in page.evaluate("JSON.stringify(localStorage)")
        page.reload()
        expect(page.locator("#state-name")).to_have_text("livre")
        expect(dialog).to_be_hidden()


def test_reduced_motion(chatty_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(chatty_engine.url, reduced_motion="reduce").page
    send_and_wait(page, "oi")
    assert page.evaluate("document.getAnimations().length") == 0


def test_page_works_below_a_proxy_path(chatty_engine: FakeEngine, open_tab: Open) -> None:
    """The browser's driver acts as the proxy, and strips the path prefix before it contacts the server."""
    tab = open_tab(chatty_engine.url)

    def without_prefix(route, request) -> None:  # type: ignore[no-untyped-def]
        route.fulfill(response=route.fetch(url=request.url.replace("/below/", "/")))

    tab.page.context.route(f"{chatty_engine.url}/below/**", without_prefix)
    tab.page.goto(f"{chatty_engine.url}/below/chat")
    send_and_wait(tab.page, "oi")
    expect(tab.page.locator(".assistant strong").first).to_have_text("casefold")
    expect(tab.page.locator("span.formula")).to_have_count(2)
    expect(tab.page.locator(".hljs-keyword").first).to_have_text("def")
    tab.page.context.unroute_all(behavior="wait")
