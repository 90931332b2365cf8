"""The details of the model, and the programs that the page shows, which are run against its server."""

import json
import subprocess
import sys
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.api_keys import hash_key
from tests.playground.browser.conftest import Open
from tests.playground.browser.fake_engine import FakeEngine, serve_fake_engine

pytestmark = pytest.mark.page

KEY = "chave-do-programa"


def program(page: Page, name: str) -> str:
    """The program that the dialog shows under a name, as it is copied."""
    dialog = page.get_by_role("dialog")
    if not dialog.is_visible():
        page.get_by_role("button", name="Usar no seu código").click()
    dialog.get_by_role("button", name=name, exact=True).click()
    dialog.get_by_role("button", name="Copiar").click()
    text: str = page.evaluate("navigator.clipboard.readText()")
    assert page.locator("#code-text").inner_text().strip() == text.strip()
    return text


def run_curl(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(f"{command} --silent --fail", shell=True, capture_output=True, text=True)


def opened(open_tab: Open, url: str, **options: Any) -> Page:
    page = open_tab(url, **options).page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page


def test_programs_reach_the_server(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = opened(open_tab, fake_engine.url)
    expect(page.locator("#model")).to_have_text("demo")
    ran = run_curl(program(page, "curl"))
    assert (ran.returncode, json.loads(ran.stdout)["object"]) == (0, "chat.completion"), ran
    ran = subprocess.run([sys.executable, "-c", program(page, "Python openai")], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "Olá!\n"), ran
    local = program(page, "Python maritalk")
    assert f'MariTalkLocal(host="127.0.0.1", port={fake_engine.url.rpartition(":")[2]})' in local
    compile(local, "local.py", "exec")
    question = "Sugira três nomes para a minha cachorra e diga o que significam."
    for request in fake_engine.requests:
        assert (request["model"], request["messages"]) == ("demo", [{"role": "user", "content": question}])
    assert len(fake_engine.requests) == 2


def test_programs_have_a_place_for_the_key(open_tab: Open) -> None:
    with serve_fake_engine(access=AccessConfig(digests=(hash_key(KEY),))) as fake_engine:
        page = opened(open_tab, fake_engine.url)
        expect(page.get_by_role("dialog")).to_contain_text("Este servidor pede uma chave")
        page.keyboard.type(KEY)
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_text("demo")
        curl = program(page, "curl")
        assert KEY not in curl
        codes = [run_curl(each).returncode for each in (curl, curl.replace("YOUR_KEY", KEY))]
        # 22: the server answered with an error status.
        assert codes == [22, 0]
        assert "YOUR_KEY" in program(page, "Python openai")
        # MariTalkLocal would send no key.
        assert "maritalk.MariTalk(" in program(page, "Python maritalk")
        expect(page.locator("#code-key")).to_be_visible()
        # A link sends no key either.
        expect(page.locator("#code-docs")).to_be_hidden()


def test_details_of_the_model(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = opened(open_tab, fake_engine.url)
    page.get_by_role("button", name="demo", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("dt")).to_have_text(["Nome", "Contexto", "Motor"])
    expect(dialog.locator("dd")).to_have_text(["demo", "8.192 tokens", "vLLM 0.33.0"])
    link = dialog.get_by_role("link", name="Documentação da API")
    assert link.evaluate("link => link.href") == f"{fake_engine.url}/docs"
    dialog.get_by_role("button", name="Fechar").click()
    expect(dialog).to_be_hidden()
