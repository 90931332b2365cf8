"""Files, batches and the flex tier, with OpenAI's published client, as its guide has them."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGES
from tests.serving import Server

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module", params=["/v1", "/api"])
def reported(request: pytest.FixtureRequest, shared_server: Server) -> dict[str, Any]:
    inputs = {"base_url": f"http://127.0.0.1:{shared_server.port}{request.param}", "messages": MESSAGES}
    return run("openai-3.54.0", "openai_batches", inputs)


@pytest.fixture(scope="module")
def answer(shared_server: Server) -> str:
    """The answer of MariTalk Local's route to the same messages."""
    body = {"messages": MESSAGES, "do_sample": False, "max_tokens": 12}
    return str(shared_server.ask("/chat/generate", body).json["output"])


def test_each_line_gets_the_answer_of_an_interactive_request(reported: dict[str, Any], answer: str) -> None:
    output = reported["output"]
    assert sorted(each["custom_id"] for each in output) == sorted(f"request-{number}" for number in range(20))
    for each in output:
        assert (each["error"], each["response"]["status_code"]) == (None, 200)
        assert each["response"]["body"]["choices"][0]["message"]["content"] == answer
    (wrong,) = reported["errors"]
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("wrong", 404)


def test_a_batch_reports_its_progress(reported: dict[str, Any]) -> None:
    created, finished = reported["created"], reported["finished"]
    assert (created["status"], created["metadata"]) == ("validating", {"description": "nightly eval job"})
    assert (finished["status"], finished["errors"]) == ("completed", None)
    assert finished["request_counts"] == {"total": 21, "completed": 20, "failed": 1}
    assert finished["id"] in reported["batches"]


def test_a_malformed_file_fails_its_batch(reported: dict[str, Any]) -> None:
    failed = reported["failed"]
    assert failed["status"] == "failed"
    assert [(each["code"], each["line"]) for each in failed["errors"]["data"]] == [("invalid_json_line", 1)]


def test_files_are_listed_and_deleted(reported: dict[str, Any]) -> None:
    file = reported["file"]
    assert (file["filename"], file["purpose"], file["status"]) == ("batchinput.jsonl", "batch", "processed")
    assert file["id"] in reported["files"]
    assert len(set(reported["files"])) == len(reported["files"]) >= 3  # with the results and the errors
    assert reported["deleted"] == {"id": file["id"], "deleted": True, "object": "file"}


def test_errors_are_those_of_openais_client(reported: dict[str, Any]) -> None:
    texts = {name: reported[name]["text"] for name in ("over", "no such file", "another purpose")}
    assert texts["over"].endswith("is completed, and cannot be cancelled.")
    assert "There is no file" in texts["no such file"]
    assert texts["another purpose"].endswith("This server keeps files of the purpose batch.")


def test_the_flex_tier_is_named_in_the_answer(reported: dict[str, Any], answer: str) -> None:
    assert reported["flex"]["service_tier"] == "flex"
    assert reported["flex"]["choices"][0]["message"]["content"] == answer
