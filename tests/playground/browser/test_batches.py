"""Files and batches on the page, with a stub of the server's routes for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from maritalk_vllm.server.middleware.access_config import AccessConfig
from maritalk_vllm.server.middleware.stack import MiddlewareStack
from maritalk_vllm.settings import TimeUnit
from tests.counting import request_metrics
from tests.playground.browser.chromium import assert_accessible, picture
from tests.playground.browser.conftest import Open
from tests.playground.browser.fake_engine import FakeEngine, served
from tests.playground.browser.test_look import METRICS, PHONE, fits
from tests.stub_batches import StubBatches
from tests.tools.batch.test_batch_file import CHAT, line

pytestmark = pytest.mark.page

REQUESTS = b"\n".join([line("a", url="/generate"), line("b", url="/generate", body={"fail": True})])


@pytest.fixture
def stub() -> StubBatches:
    """Batches advance only when a test calls `advance`."""
    return StubBatches(moves=False)


@pytest.fixture
def url(stub: StubBatches) -> Iterator[str]:
    fake_engine = FakeEngine(metrics=METRICS)
    app = fake_engine.app
    app.router.routes.extend(stub.routes)
    stack = MiddlewareStack(app, AccessConfig(), fake_engine.state, TimeUnit.MILLISECONDS, request_metrics())
    with served(stack) as address:
        yield address


def drop(page: Page, name: str, content: bytes) -> None:
    """Drop a file on the view, as a file manager does."""
    make = """([name, text]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([text], name));
        return transfer;
    }"""
    transfer = page.evaluate_handle(make, [name, content.decode()])
    page.dispatch_event("#batches", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#batches")).to_have_class("view dropping")
    page.dispatch_event("#batches", "drop", {"dataTransfer": transfer})
    expect(page.locator("#batches")).to_have_class("view")


def test_support_for_batches_is_requested_once(fake_engine: FakeEngine, open_tab: Open) -> None:
    page = open_tab(fake_engine.url).page
    expect(page.locator("#model")).to_have_text("demo")  # the page has requested it; it is reloaded below
    paths: list[str] = []
    page.on("request", lambda request: paths.append(request.url.rsplit("/", 1)[-1]))
    page.goto(f"{fake_engine.url}/chat#batches")
    page.reload()
    expect(page.locator("#model")).to_have_text("demo")
    page.wait_for_timeout(3000)
    assert paths.count("batches?limit=1") == 1
    assert paths.count("readyz") >= 2
    expect(page.locator("#batches-link")).to_be_hidden()
    expect(page.get_by_label("Sua mensagem")).to_be_visible()


def test_a_dropped_file_becomes_a_batch(stub: StubBatches, url: str, open_tab: Open, tmp_path: Path) -> None:
    page = open_tab(url).page
    page.get_by_role("link", name="Lotes").click()
    expect(page.locator("#no-batches")).to_have_text("Ainda não há lotes.")
    drop(page, "perguntas.jsonl", REQUESTS)
    row = page.locator("#batch-rows li")
    expect(row.locator(".row-status")).to_have_text("em validação")
    expect(row.locator(".row-title")).to_contain_text("perguntas.jsonl")
    (batch,) = stub.batches.values()
    assert batch["endpoint"] == "/generate"
    assert stub.files[batch["input_file_id"]].content == REQUESTS
    expect(page.locator("#announcer")).to_have_text("perguntas.jsonl: enviado, e o lote começou.")
    stub.advance(batch)
    expect(row.locator("progress")).to_have_js_property("max", 2)
    batch["request_counts"]["completed"] = 1
    expect(row.locator("progress")).to_have_js_property("value", 1)
    expect(row.locator(".hint")).to_contain_text("1 de 2 prontas · /generate")
    stub.advance(batch)
    stub.advance(batch)
    expect(row.locator(".row-status")).to_have_text("concluído")
    expect(page.locator("#announcer")).to_have_text("perguntas.jsonl: concluído")
    expect(row.locator(".hint")).to_contain_text("2 de 2 prontas · com falha: 1")
    expect(row.locator("progress")).to_have_count(0)
    for button, name, file_id in (
        ("Resultados", "perguntas-output.jsonl", batch["output_file_id"]),
        ("Erros", "perguntas-errors.jsonl", batch["error_file_id"]),
    ):
        with page.expect_download() as saved:
            row.get_by_role("button", name=button).click()
        assert saved.value.suggested_filename == name
        saved.value.save_as(tmp_path / name)
        assert (tmp_path / name).read_bytes() == stub.files[file_id].content


def test_files_are_started_again_and_deleted(stub: StubBatches, url: str, open_tab: Open) -> None:
    file = stub.add_file("outras.jsonl", REQUESTS)
    page = open_tab(f"{url}").page
    page.get_by_role("link", name="Lotes").click()
    start = page.get_by_role("button", name="Processar outras.jsonl")
    start.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#batch-rows li")).to_have_count(1)
    expect(start).to_be_focused()
    (batch,) = stub.batches.values()
    assert (batch["input_file_id"], batch["endpoint"]) == (file.id, "/generate")
    page.get_by_role("button", name="Cancelar o lote").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancelar o lote").click()
    expect(page.locator(".row-status")).to_have_text("sendo cancelado")
    page.get_by_role("button", name="Apagar outras.jsonl").click()
    page.get_by_role("dialog").get_by_role("button", name="Apagar").click()
    expect(page.locator("#no-files")).to_be_visible()
    assert stub.files == {}


def test_errors_are_shown(stub: StubBatches, url: str, open_tab: Open) -> None:
    page = open_tab(url).page
    page.get_by_role("link", name="Lotes").click()
    error = page.locator("#batches-error")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Escolher um arquivo").click()
    chooser.value.set_files({"name": "texto.txt", "mimeType": "text/plain", "buffer": b"oi\n"})
    expect(error).to_have_text("A primeira linha do arquivo não é uma requisição em JSON com o campo url.")
    assert stub.files == {}
    drop(page, "errado.jsonl", line("1") + b'\n{"body": {}}')
    expect(page.locator("#batch-rows li")).to_have_count(1)
    expect(error).to_be_hidden()
    (batch,) = stub.batches.values()
    assert batch["endpoint"] == CHAT
    stub.advance(batch)
    expect(page.locator(".row-status")).to_have_text("recusado")
    expect(page.locator(".rows .invalid")).to_have_text("Linha 2: The key custom_id is missing.")
    stub.files.clear()
    page.get_by_role("button", name="Baixar errado.jsonl").click()
    expect(error).to_have_text("There is no 'file-1'.")


@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 800}], ids=["phone", "desk"])
def test_axe_reports_no_serious_violation(stub: StubBatches, url: str, open_tab: Open, size: dict[str, int]) -> None:
    for name, steps in (("resenhas.jsonl", 3), ("contratos.jsonl", 1), ("perguntas.jsonl", 0)):
        batch = stub.add_batch(stub.add_file(name, REQUESTS), "/generate")
        for _ in range(steps):
            stub.advance(batch)
    page = open_tab(url, viewport=size).page
    page.get_by_role("link", name="Lotes").click()
    expect(page.locator("#batch-rows li")).to_have_count(3)
    assert fits(page)
    assert_accessible(page, "batches", ("light",) if size is PHONE else ("light", "dark"))
    if size is not PHONE:
        picture(page, "batches")
    page.locator("#skip").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Escolher um arquivo")).to_be_focused()
    if size is PHONE:
        page.get_by_role("button", name="Abrir as conversas").click()
    page.get_by_role("button", name="English").click()
    expect(page.locator(".row-status").first).to_have_text("being validated")
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_label("Your message")).to_be_focused()
