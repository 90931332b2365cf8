"""The server's state and metrics on the page, with a fake engine."""

import re

import pytest
from playwright.sync_api import expect

from maritalk_vllm.server.status.server_state import Phase
from tests.playground.browser.conftest import Open
from tests.playground.browser.fake_engine import FakeEngine, serve_fake_engine
from tests.playground.browser.test_chat import send_and_wait

pytestmark = pytest.mark.page


def test_each_server_state_is_shown_and_the_draft_is_kept(open_tab: Open) -> None:
    with serve_fake_engine() as fake_engine:
        fake_engine.metrics = 'vllm:num_requests_running{engine="0"} 0.0\n'
        page = open_tab(fake_engine.url).page
        expect(page.locator("#state-name")).to_have_text("livre")
        page.get_by_label("Sua mensagem").fill("ainda não enviada")
        banner = page.locator("#banner")
        expect(banner).to_be_hidden()
        fake_engine.state.transition_to(Phase.LOADING)
        fake_engine.state.set_step("Loading weights 3/12", 0.25)
        expect(banner).to_contain_text("O motor parou e está sendo iniciado de novo.")
        expect(banner).to_contain_text("Carregando os pesos 3/12")
        expect(page.locator("#banner-bar")).to_have_js_property("value", 0.25)
        fake_engine.state.set_step("Importing vLLM")
        expect(banner).to_contain_text("Importando o vLLM")
        assert page.locator("#banner-bar").get_attribute("value") is None
        fake_engine.state.transition_to(Phase.READY)
        expect(banner).to_be_hidden()
        expect(page.locator("#announcer")).to_have_text("O modelo está pronto.")
        fake_engine.state.transition_to(Phase.DRAINING)
        expect(banner).to_contain_text("O servidor está encerrando")
        fake_engine.state.transition_to(Phase.FAILED)
        expect(banner).to_contain_text("não conseguiu carregar")
    expect(banner).to_contain_text("O servidor não responde.")
    expect(page.locator("#state-name")).to_have_text("sem resposta")
    send_and_wait(page, "vai falhar")
    expect(page.locator(".error")).to_have_text("O servidor não responde. Tente de novo em um momento.")
    page.get_by_label("Sua mensagem").fill("ainda não enviada")
    stored = page.evaluate("JSON.stringify(localStorage)")
    assert "ainda não enviada" in stored and "vai falhar" in stored


def test_status_bar_shows_the_metrics(fake_engine: FakeEngine, open_tab: Open) -> None:
    def metrics(tokens: int) -> str:
        return "\n".join(
            [
                "# HELP vllm:num_requests_running Number of requests.",
                'vllm:num_requests_running{engine="0",model_name="a b"} 2.0',
                'vllm:num_requests_running{engine="1",model_name="a b"} 1.0',
                'vllm:num_requests_waiting{engine="0"} 4.0',
                'vllm:kv_cache_usage_perc{engine="0"} 0.5',
                'vllm:kv_cache_usage_perc{engine="1"} 0.25',
                f'vllm:generation_tokens_total{{engine="0"}} {tokens}',
            ]
        )

    fake_engine.metrics = metrics(1000)
    page = open_tab(fake_engine.url).page
    expect(page.locator("#running")).to_have_text("3")
    expect(page.locator("#waiting")).to_have_text("4")
    expect(page.locator("#cache")).to_have_text("38%")
    expect(page.locator("#state-name")).to_have_text("ocupado")
    expect(page.locator("#rate")).to_have_text("–")
    fake_engine.metrics = metrics(1500)
    expect(page.locator("#rate")).to_have_text(re.compile(r"^(1[5-9]\d|2[0-4]\d)$"))


def test_hidden_page_does_not_poll(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    expect(page.locator("#state-name")).to_have_text("pronto")
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", {configurable: true, get: () => true});
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.wait_for_timeout(2600)
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.wait_for_timeout(3000)
    assert urls == []
    page.evaluate("""() => {
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.wait_for_timeout(500)
    assert [url.rsplit("/", 1)[-1] for url in urls][:2] == ["readyz", "metrics"]
