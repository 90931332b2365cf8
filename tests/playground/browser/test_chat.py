"""Chatting with a fake engine: requests, stored conversations, and error messages."""

import json
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Page, expect

from maritalk_vllm.api.local_schema import ChatGenerateRequest, LocalRequest
from maritalk_vllm.settings import TimeUnit
from tests.playground.browser.conftest import Open
from tests.playground.browser.fake_engine import FakeEngine, serve_fake_engine

pytestmark = pytest.mark.page

MARKDOWN = """Uma **lista**:

- [x] um
- [ ] dois

```python
print('olá')
```

| a | b |
|---|--:|
| 1 | 2 |
"""


def send_message(page: Page, text: str) -> None:
    page.get_by_label("Sua mensagem").fill(text)
    page.keyboard.press("Enter")


def send_and_wait(page: Page, text: str) -> None:
    """Send a message and wait for the end of its answer."""
    before = page.locator(".assistant").count()
    send_message(page, text)
    expect(page.locator(".assistant:not(.running)")).to_have_count(before + 1)


def test_conversation_is_a_valid_request(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    send_and_wait(page, "oi")
    send_and_wait(page, "e agora?\nduas linhas")
    first, second = fake_engine.requests
    assert first["messages"] == [{"role": "user", "content": "oi"}]
    turns = [{"role": "assistant", "content": "Olá!"}, {"role": "user", "content": "e agora?\nduas linhas"}]
    assert second["messages"] == [*first["messages"], *turns]
    path = second.pop("path")
    assert path == "/chat/generate"
    # The server accepts the request, whose values are the server's own defaults.
    request = msgspec.json.decode(json.dumps(second), type=ChatGenerateRequest, strict=True)
    plain = ChatGenerateRequest(messages=request.messages, stream=True, return_usage=True, stop_sequences=[])
    assert request == plain
    assert {field.name for field in msgspec.structs.fields(LocalRequest)} == second.keys() - {"messages"}


def test_demo_model_is_named_with_examples_and_their_answers(open_tab: Open) -> None:
    """The examples are in English in each language of the page. They are sent without sampling: answers are known."""
    with serve_fake_engine(is_demo=True) as fake_engine:
        page = open_tab(fake_engine.url).page
        expect(page.locator("#demo")).to_have_text(
            "Modelo de demonstração SmolLM2-135M: só inglês, e não é o MariTalk."
        )
        suggestion = page.get_by_role("button", name="What is the capital of Japan?")
        expect(suggestion).to_contain_text("The capital of Japan is Tokyo.")
        suggestion.click()
        page.keyboard.press("Enter")
        expect(page.locator(".assistant:not(.running)")).to_have_count(1)
        page.locator("#views").get_by_text("Texto").click()
        page.get_by_role("button", name="Exemplo").click()
        expect(page.locator("#outputs")).to_have_text("Resposta esperada: positive")
        assert page.locator("#prompt").input_value().startswith("Classify the film review")
    (request,) = fake_engine.requests
    assert request["messages"] == [{"role": "user", "content": "What is the capital of Japan?"}]
    assert not request["do_sample"]


def test_another_model_is_not_called_the_demo_model(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    expect(page.get_by_role("button", name="Ouro Preto")).to_be_visible()
    expect(page.locator("#demo")).to_be_hidden()


def test_settings_and_system_message_are_sent_and_stored(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    page.get_by_role("button", name="Ajustes").click()
    page.get_by_label("Instruções para o modelo").fill("Responda em versos.")
    page.get_by_label("Temperatura").fill("0,2")
    page.get_by_label("Semente").fill("7")
    page.get_by_label("Parar em").fill("fim\\n\n###")
    page.get_by_label("Probabilidade").fill("2")
    expect(page.locator("#setting-top_p")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#setting-top_p-hint")).to_contain_text("não aceita")
    page.get_by_label("Amostragem").uncheck()
    page.keyboard.press("Escape")
    page.reload()
    send_and_wait(page, "oi")
    (request,) = fake_engine.requests
    assert request["messages"][0] == {"role": "system", "content": "Responda em versos."}
    assert (request["temperature"], request["seed"], request["stop_sequences"]) == (0.2, 7, ["fim\n", "###"])
    assert (request["do_sample"], request["top_p"]) == (False, 0.95)
    page.get_by_role("button", name="Ajustes").click()
    expect(page.get_by_label("Parar em")).to_have_value("fim\\n\n###")
    page.get_by_role("button", name="Restaurar").click()
    expect(page.get_by_label("Temperatura")).to_have_value("0.7")


def test_markdown_is_rendered_and_code_can_be_copied(fake_engine: FakeEngine, open_tab: Open) -> None:
    fake_engine.chunks = [MARKDOWN]
    tab = open_tab(fake_engine.url)
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    send_and_wait(tab.page, "oi")
    body = tab.page.locator(".assistant .body")
    expect(body.locator("strong")).to_have_text("lista")
    assert body.locator("li").all_text_contents() == ["☑ um", "☐ dois"]
    expect(body.locator("td").nth(1)).to_have_attribute("align", "right")
    expect(body.locator(".code-head span")).to_have_text("python")
    body.get_by_role("button", name="Copiar").click()
    expect(tab.page.locator("#announcer")).to_have_text("Copiado.")
    assert tab.page.evaluate("navigator.clipboard.readText()") == "print('olá')\n"


def test_screen_reader_gets_the_whole_answer_once(fake_engine: FakeEngine, open_tab: Open) -> None:
    fake_engine.chunks, fake_engine.chunk_delay = ["Um ", "dois ", "três."], 0.1
    page = open_tab(fake_engine.url).page
    page.evaluate("""() => {
        window.announcements = [];
        new MutationObserver(() => announcements.push(document.getElementById("announcer").textContent))
            .observe(document.getElementById("announcer"), {childList: true});
    }""")
    send_and_wait(page, "oi")
    expect(page.locator("#announcer")).to_have_text("Resposta: Um dois três.")
    assert [each for each in page.evaluate("announcements") if each] == [
        "O modelo está respondendo.",
        "Resposta: Um dois três.",
    ]


def test_metrics_in_both_time_units(open_tab: Open) -> None:
    for unit, shown in (
        (
            TimeUnit.MILLISECONDS,
            ["fila 0 ms", "entrada 158 ms (20 tokens)", "resposta 1,2 s (49 tokens)", "40 tokens/s"],
        ),
        (TimeUnit.SECONDS, ["fila 0 ms", "entrada 158 s (20 tokens)", "resposta 1.200 s (49 tokens)", "0 tokens/s"]),
    ):
        with serve_fake_engine(unit) as fake_engine:
            page = open_tab(fake_engine.url).page
            send_and_wait(page, "oi")
            assert page.locator(".assistant .figures span").all_text_contents() == shown


def test_stopped_answer_is_kept_in_the_conversation(fake_engine: FakeEngine, open_tab: Open) -> None:
    fake_engine.chunks, fake_engine.chunk_delay = ["um "] * 200, 0.05
    page = open_tab(fake_engine.url).page
    send_message(page, "conte")
    expect(page.locator(".assistant .body")).to_contain_text("um um")
    expect(page.locator("#send")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator(".assistant .note")).to_contain_text("Interrompida")
    received = page.locator(".assistant .body p").first.inner_text()
    assert 2 <= received.count("um") < 200
    page.reload()
    expect(page.locator(".assistant .body")).to_contain_text(received)
    fake_engine.chunks, fake_engine.chunk_delay = ["fim"], 0
    send_and_wait(page, "e?")
    assert fake_engine.requests[-1]["messages"][1]["content"].strip() == received.strip()


def test_edit_a_message_and_regenerate_an_answer(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    send_and_wait(page, "primeira")
    send_and_wait(page, "segunda")
    fake_engine.chunks = ["Outra."]
    page.get_by_role("button", name="Gerar outra resposta").last.click()
    expect(page.locator(".assistant .body").last).to_have_text("Outra.")
    assert [turn["content"] for turn in fake_engine.requests[-1]["messages"]] == ["primeira", "Olá!", "segunda"]
    first = page.locator(".user").first
    first.hover()
    first.get_by_role("button", name="Editar").click()
    page.keyboard.press("End")
    page.keyboard.type(" mudada")
    page.keyboard.press("Enter")
    expect(page.locator(".message")).to_have_count(2)
    expect(page.locator(".assistant:not(.running) .body")).to_have_text("Outra.")
    assert [turn["content"] for turn in fake_engine.requests[-1]["messages"]] == ["primeira mudada"]


def test_selected_answer_continues_the_conversation(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    page.get_by_role("button", name="Ajustes").click()
    page.get_by_label("Quantas respostas").fill("3")
    page.keyboard.press("Escape")
    send_and_wait(page, "oi")
    expect(page.locator(".position")).to_have_text("1 de 3")
    page.get_by_role("button", name="Próxima resposta").click()
    expect(page.locator(".assistant .body")).to_have_text("Olá! (2)")
    send_and_wait(page, "e?")
    assert fake_engine.requests[-1]["messages"][1]["content"] == "Olá! (2)"


def test_conversations_are_stored_renamed_exported_and_deleted(
    fake_engine: FakeEngine, open_tab: Open, tmp_path: Path
) -> None:
    page = open_tab(fake_engine.url).page
    send_and_wait(page, "A primeira conversa")
    page.get_by_role("button", name="Nova conversa").click()
    expect(page.locator(".message")).to_have_count(0)
    send_and_wait(page, "A segunda")
    page.reload()
    titles = page.locator("#conversations .title")
    expect(titles).to_have_text(["A segunda", "A primeira conversa"])
    titles.last.click()
    expect(page.locator(".user .body")).to_have_text("A primeira conversa")

    def choose(action: str) -> None:
        page.locator("#conversations li").last.get_by_role("button", name="Ações").click()
        page.get_by_role("menuitem", name=action).click()

    choose("Renomear")
    page.keyboard.type("Ação & reação")
    page.keyboard.press("Enter")
    expect(titles.last).to_have_text("Ação & reação")
    for action, ending in (("Markdown", "md"), ("JSON", "json")):
        with page.expect_download() as download:
            choose(action)
        assert download.value.suggested_filename == f"acao-reacao.{ending}"
        download.value.save_as(tmp_path / ending)
    markdown = (tmp_path / "md").read_text()
    assert markdown.startswith("# Ação & reação\n")
    assert markdown.endswith("## Você\n\nA primeira conversa\n\n## Resposta\n\nOlá!\n")
    exported = json.loads((tmp_path / "json").read_text())
    assert [(turn["role"], turn["content"]) for turn in exported["messages"]] == [
        ("user", "A primeira conversa"),
        ("assistant", "Olá!"),
    ]
    assert exported["messages"][1]["figures"]["tokens"] == 49
    choose("Apagar")
    page.get_by_role("dialog").get_by_role("button", name="Apagar").click()
    expect(titles).to_have_text(["A segunda"])
    page.reload()
    expect(titles).to_have_text(["A segunda"])


def test_conversations_are_found_and_all_deleted(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    expect(page.get_by_label("Buscar nas conversas")).to_be_hidden()
    for text, answer in (
        ("A fotossíntese das plantas", "Luz."),
        ("Ouro Preto", "Museu da Inconfidência."),
        ("Oi", "!"),
    ):
        page.get_by_role("button", name="Nova conversa").click()
        fake_engine.chunks = [answer]
        send_and_wait(page, text)
    titles = page.locator("#conversations .title")
    search = page.get_by_label("Buscar nas conversas")
    for words, found in (
        ("FOTOSSINTESE", ["A fotossíntese das plantas"]),
        ("inconfidencia  preto", ["Ouro Preto"]),
        ("o", ["Oi", "Ouro Preto", "A fotossíntese das plantas"]),
        ("luz preto", []),
    ):
        search.fill(words)
        expect(titles).to_have_text(found)
    expect(page.locator("#nothing-found")).to_be_visible()
    expect(page.locator("#announcer")).to_have_text("0 conversa encontrada")
    search.fill("")
    page.get_by_role("button", name="Apagar todas").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Apagar todas as 3 conversas? Não há como desfazer.")
    dialog.get_by_role("button", name="Cancelar").click()
    expect(titles).to_have_count(3)
    page.get_by_role("button", name="Apagar todas").click()
    dialog.get_by_role("button", name="Apagar todas").click()
    expect(titles).to_have_count(0)
    page.reload()
    expect(page.locator("#no-conversations")).to_be_visible()
    assert page.evaluate("Object.keys(localStorage).filter(name => name.includes('conversation.'))") == []


def test_singular_and_plural(fake_engine: FakeEngine, open_tab: Open) -> None:
    fake_engine.usage = {"completion_tokens": 1, "prompt_tokens": 1, "total_tokens": 2}
    page = open_tab(fake_engine.url, locale="en-US").page
    page.get_by_label("Your message").fill("hi")
    page.keyboard.press("Enter")
    figures = page.locator(".assistant .figures")
    expect(figures).to_contain_text("prompt 158 ms (1 token)")
    expect(figures).to_contain_text("answer 1.2 s (1 token)")
    page.get_by_role("button", name="Português").click()
    expect(figures).to_contain_text("entrada 158 ms (1 token)")
    page.get_by_role("button", name="Apagar todas").click()
    expect(page.get_by_role("dialog")).to_contain_text("Apagar 1 conversa?")


def test_errors_are_shown_in_the_language_of_the_page(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    fake_engine.error_response = (
        400,
        "The prompt has 6000 tokens and max_tokens is 9000: together 15000, over this model's limit of 8192. "
        "Shorten the prompt or lower max_tokens.",
    )
    send_and_wait(page, "oi")
    in_portuguese = (
        "A mensagem tem 6000 tokens e o tamanho máximo da resposta é 9000: juntos são 15000, acima do limite deste "
        "modelo, de 8192. Encurte a mensagem ou diminua o tamanho máximo."
    )
    expect(page.locator(".error")).to_have_text(in_portuguese)
    page.get_by_role("button", name="English").click()
    expect(page.locator(".error")).to_have_text(fake_engine.error_response[1])
    page.get_by_role("button", name="Português").click()
    # A sentence without a translation is shown as it is, after those that have one.
    fake_engine.error_response = (503, "The server is stopping. Unknown sentence.")
    page.get_by_role("button", name="Gerar outra resposta").click()
    expect(page.locator(".error")).to_have_text("O servidor está encerrando. Unknown sentence.")
    fake_engine.error_response, fake_engine.stream_error = (
        None,
        "The engine has died, and is started again. Try again in a moment.",
    )
    page.get_by_role("button", name="Gerar outra resposta").click()
    expect(page.locator(".error")).to_have_text(
        "O motor parou e está sendo iniciado de novo. Tente de novo em um momento."
    )
    # The text received before the error stays, and the error is shown with it.
    expect(page.locator(".assistant .body")).to_contain_text("Olá!")
    fake_engine.stream_error, fake_engine.disconnects = "", True
    page.get_by_role("button", name="Gerar outra resposta").click()
    expect(page.locator(".error")).to_have_text("A conexão caiu antes do fim da resposta.")
    # Failed answers are not sent on in the conversation, except for the text received before the error.
    assert [turn["content"] for turn in fake_engine.requests[-1]["messages"]] == ["oi"]
