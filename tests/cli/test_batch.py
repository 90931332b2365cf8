"""`maritalk-vllm batch` as a program, against a stub of a server's files and batches."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.answering import Request, answering
from tests.commands import run, start
from tests.playground.browser.fake_engine import served
from tests.serving import UNREACHABLE_URL
from tests.stub_batches import StubBatches
from tests.tools.batch.test_batch_file import CHAT, line, written

PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@pytest.fixture
def stub() -> StubBatches:
    return StubBatches()


@pytest.fixture
def url(stub: StubBatches) -> Iterator[str]:
    with served(stub.app) as url:
        yield url


def batch(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-vllm", "batch", *arguments, env={**os.environ, **environment})


def test_submit_uploads_the_file_and_prints_the_id(stub: StubBatches, url: str, tmp_path: Path) -> None:
    file = written(tmp_path, line("a", url="/generate"), line("b", url="/generate"))
    result = batch("submit", file, "--url", url)
    (created,) = stub.batches.values()
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{created['id']}\n", "")
    assert created["endpoint"] == "/generate"
    uploaded = stub.files[created["input_file_id"]]
    assert (uploaded.filename, uploaded.purpose, uploaded.content) == ("requests.jsonl", "batch", file.read_bytes())


def test_wait_and_fetch(stub: StubBatches, url: str, tmp_path: Path) -> None:
    submitted = batch("submit", written(tmp_path, line("a"), line("b")), "--wait", "--url", f"{url}/v1/")
    id = submitted.stdout.strip()
    assert (submitted.returncode, stub.batches[id]["status"]) == (0, "completed")
    assert submitted.stderr == "Status of the batch: completed. Requests done: 2 of 2; failed: 0.\n"
    printed = batch("fetch", id, "--url", url)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert [json.loads(result)["custom_id"] for result in printed.stdout.splitlines()] == ["a", "b"]
    output = tmp_path / "output.jsonl"
    output.write_text("older")
    assert batch("fetch", id, "--output", output, "--url", url).stdout == ""
    assert output.read_text() == printed.stdout
    assert sorted(each.name for each in tmp_path.iterdir()) == ["output.jsonl", "requests.jsonl"]
    none = batch("fetch", id, "--errors", "--url", url)
    assert (none.returncode, none.stderr) == (1, "maritalk-vllm: No request of the batch has failed.\n")


def test_failed_requests_set_the_exit_code(url: str, tmp_path: Path) -> None:
    file = written(tmp_path, line("good"), line("bad", body={"fail": True}))
    submitted = batch("submit", file, "--wait", "--url", url, "--lang", "pt")
    id = submitted.stdout.strip()
    assert submitted.returncode == 1
    assert submitted.stderr == "Estado do lote: completed. Requisições prontas: 2 de 2; com falha: 1.\n"
    fetched = batch("fetch", id, "--url", url)
    assert (fetched.returncode, json.loads(fetched.stdout)["custom_id"]) == (0, "good")
    assert fetched.stderr == f"Requests that failed: 1. Fetch them with maritalk-vllm batch fetch {id} --errors\n"
    assert json.loads(batch("fetch", id, "--errors", "--url", url).stdout)["custom_id"] == "bad"


def test_a_batch_that_the_server_rejects(stub: StubBatches, url: str) -> None:
    rejected = stub.add_batch(stub.add_file("requests.jsonl", b"{}"), CHAT)
    shown = batch("show", rejected["id"], "--url", url)
    assert shown.returncode == 0
    assert [row.split()[:2] for row in shown.stdout.splitlines()[:5]] == [
        ["id", rejected["id"]],
        ["status", "failed"],
        ["endpoint", CHAT],
        ["done", "0/0"],
        ["failed", "0"],
    ]
    assert shown.stdout.endswith("\nLine 1: The key custom_id is missing.\n")
    fetched = batch("fetch", rejected["id"], "--url", url)
    assert fetched.returncode == 1
    assert fetched.stderr.startswith("maritalk-vllm: Status of the batch: failed. No request was answered. See why: ")


def test_list_and_cancel(stub: StubBatches, url: str) -> None:
    stub.moves = False
    file = stub.add_file("requests.jsonl", line("1"))
    ids = [stub.add_batch(file, CHAT)["id"] for _ in range(3)]
    listed = batch("list", "--limit", 2, "--url", url)
    head, *rows = listed.stdout.splitlines()
    assert head.split() == ["id", "status", "done", "failed", "endpoint", "created"]
    assert [row.split()[:3] for row in rows] == [[id, "validating", "0/0"] for id in (ids[2], ids[1])]
    assert listed.stderr == f"There are more: maritalk-vllm batch list --after {ids[1]}\n"
    rest = batch("list", "--after", ids[1], "--json", "--url", url)
    assert (json.loads(rest.stdout), rest.stderr) == ([stub.batches[ids[0]]], "")
    cancelled = batch("cancel", ids[0], "--url", url)
    assert (cancelled.returncode, cancelled.stdout) == (0, f"{ids[0]}: cancelling\n")
    shown = batch("show", ids[0], "--json", "--url", url)
    assert json.loads(shown.stdout) == stub.batches[ids[0]]
    early = batch("fetch", ids[0], "--url", url)
    assert (early.returncode, early.stdout) == (1, "")
    assert (
        "Status of the batch: cancelling. Requests done: 0 of 0. Fetch the results when it has ended." in early.stderr
    )


def test_the_wait_continues_while_the_server_restarts(stub: StubBatches, url: str, tmp_path: Path) -> None:
    with start(
        "maritalk-vllm", "batch", "submit", written(tmp_path, line("a")), "--wait", "--url", url, **PIPES
    ) as submitted:
        assert submitted.stdout is not None
        submitted.stdout.readline()
        stub.outages = 1
        _, notes = submitted.communicate(timeout=60)
    assert submitted.returncode == 0
    assert notes.splitlines() == [
        "The server is being restarted.",
        "Status of the batch: completed. Requests done: 1 of 1; failed: 0.",
    ]


def test_an_interrupted_wait_leaves_the_batch(stub: StubBatches, url: str, tmp_path: Path) -> None:
    stub.moves = False
    with start(
        "maritalk-vllm", "batch", "submit", written(tmp_path, line("a")), "--wait", "--url", url, **PIPES
    ) as submitted:
        assert submitted.stdout is not None
        id = submitted.stdout.readline().strip()
        submitted.send_signal(signal.SIGINT)
        _, notes = submitted.communicate(timeout=60)
    assert (submitted.returncode, notes) == (130, f"The batch continues: maritalk-vllm batch show {id}\n")
    assert stub.batches[id]["status"] == "validating"


def test_the_file_is_checked_before_anything_is_sent(stub: StubBatches, url: str, tmp_path: Path) -> None:
    result = batch("submit", written(tmp_path, line("1"), b"{"), "--url", url)
    assert (result.returncode, stub.authorizations) == (2, [])
    assert "requests.jsonl, line 2: no JSON from column 2 on. Write each line as {" in result.stderr


def test_api_key(stub: StubBatches, url: str) -> None:
    stub.key = "chave"
    refused = batch("list", "--url", url)
    assert refused.returncode == 1
    assert refused.stderr == "maritalk-vllm: An API key is needed. Give it with --api-key or MARITALK_API_KEY.\n"
    assert batch("list", "--url", url, "--api-key", "chave").returncode == 0
    assert batch("list", MARITALK_URL=url, MARITALK_API_KEY="chave other").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "a b?c"), 1, "There is no 'a b?c'."),
        (("cancel", "batch_9"), 1, "There is no 'batch_9'."),
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--url", UNREACHABLE_URL), 1, f"No server answers at {UNREACHABLE_URL}."),
        (("list", "--url", "nowhere"), 2, "nowhere is no address of a server."),
    ],
)
def test_errors_are_sentences(url: str, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = batch(*arguments, MARITALK_URL=url)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_without_batches() -> None:
    with answering(lambda request: request.reply(404, b"<html>")) as server:
        result = batch("list", "--url", server.url)
    assert (result.returncode, result.stderr) == (1, "maritalk-vllm: The server answers 404 Not Found.\n")


def test_an_interrupted_download_leaves_no_file(stub: StubBatches, tmp_path: Path) -> None:
    ended = {**stub.add_batch(stub.add_file("requests.jsonl", line("1")), CHAT), "output_file_id": "file-9"}

    def answer(request: Request) -> None:
        if request.path.endswith("/content"):
            request.close_connection = True
            request.begin(200, content_length=9)
        else:
            request.reply(200, json.dumps(ended).encode())

    output = tmp_path / "output.jsonl"
    with answering(answer) as server:
        result = batch("fetch", "batch_1", "--output", output, "--url", server.url)
    assert result.returncode == 1
    assert "The connection to" in result.stderr and "broke off. Try again." in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written(stub: StubBatches, url: str, tmp_path: Path) -> None:
    ended = stub.add_batch(stub.add_file("requests.jsonl", line("1")), CHAT)
    for _ in range(3):
        stub.advance(ended)
    result = batch("fetch", ended["id"], "--output", tmp_path / "none" / "output.jsonl", "--url", url)
    assert result.returncode == 2
    assert "output.jsonl cannot be written: No such file or directory. Choose another --output." in result.stderr
    assert batch("fetch", ended["id"], "--output", "/dev/full", "--url", url).returncode == 2


def test_no_file_is_in_memory_as_a_whole(stub: StubBatches, url: str, tmp_path: Path) -> None:
    small = written(tmp_path, line("1"))
    large = tmp_path / "large.jsonl"
    filling = "x" * 500_000
    large.write_bytes(b"\n".join(line(str(number), body={"prompt": filling}) for number in range(60)))
    least = peak_bytes("submit", small, "--url", url)
    assert peak_bytes("submit", large, "--url", url) < least + 15_000_000
    id, ended = list(stub.batches.items())[-1]
    for _ in range(3):
        stub.advance(ended)
    output = tmp_path / "output.jsonl"
    assert peak_bytes("fetch", id, "--output", output, "--url", url) < least + 15_000_000
    assert output.stat().st_size > 30_000_000


def peak_bytes(*arguments: object) -> int:
    """Greatest memory of a command, which has to succeed."""
    peak = 0
    with start("maritalk-vllm", "batch", *arguments, stdout=subprocess.DEVNULL, fork=False) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):  # a process that has ended has none
                peak = 1024 * int(found[1])
            time.sleep(0.01)
    assert process.returncode == 0
    return peak
