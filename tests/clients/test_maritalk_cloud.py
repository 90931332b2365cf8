"""MariTalk, the cloud's client, in all published versions of `maritalk`."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.clients.environments import run, some_nightly
from tests.clients.questions import ECHO, LINE, MESSAGE, MESSAGES, PROMPT, STOPS, TOO_MANY
from tests.serving import Server

pytestmark = pytest.mark.clients

ROUTE = "/api/chat/inference"
FIRST = ["0.1.0", "0.1.5", "0.1.7"]
LATER = ["0.2.0", "0.2.3", "0.2.5", "0.2.7", "0.3.2"]

CALLS: dict[str, dict[str, Any]] = {
    "a text": {"messages": PROMPT, "chat_mode": False, "do_sample": False, "max_tokens": 12},
    "a message": {"messages": MESSAGE, "do_sample": False, "max_tokens": 12},
    "a conversation": {"messages": MESSAGES, "do_sample": False, "stopping_tokens": []},
    "a conversation, stopped": {"messages": MESSAGES, "do_sample": False, "stopping_tokens": STOPS},
    "an echo": {"messages": ECHO, "do_sample": False},
}
"""The client's arguments, with the same names as on the wire. Without `max_tokens`, it sends null since 0.2.7."""

SIZES = {"a text": 8, "a message": 1, "a conversation": 4, "a conversation, stopped": 4, "an echo": 4}
STREAMS = {name: call | {"num_tokens_per_message": SIZES[name]} for name, call in CALLS.items()}
TOO_MANY_TOKENS = {"messages": MESSAGE, "max_tokens": TOO_MANY}
Answers = dict[str, dict[str, Any]]
Reported = Callable[[str, str], dict[str, Any]]
"""The reports of a client's version and a script."""


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> Reported:
    """Run each version and script once, and return what it reported."""
    client = {"key": "1000$key", "api_url": f"http://127.0.0.1:{shared_server.port}/api"}

    @cache
    def ask(version: str, script: str) -> dict[str, Any]:
        model = {} if version in FIRST else {"model": "sabia-2-small"}
        calls = CALLS if script == "cloud" else STREAMS
        inputs = {"client": client | model, "calls": calls, "too many tokens": TOO_MANY_TOKENS}
        return run(f"maritalk-{version}", script, inputs)

    return ask


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> Answers:
    """The server's answers to the same requests, without a client."""
    return {name: shared_server.ask(ROUTE, call).json for name, call in CALLS.items()}


@pytest.fixture(scope="module")
def detail(shared_server: Server) -> str:
    """The server's error message for too many tokens."""
    response = shared_server.ask(ROUTE, TOO_MANY_TOKENS)
    assert response.status == 400
    assert list(response.json) == ["detail"]
    return response.json["detail"]


def test_the_expected_answers_have_the_intended_content(plain: Answers) -> None:
    answers = {name: answer["answer"].strip() for name, answer in plain.items()}
    assert answers["a text"].startswith(LINE)
    assert "Tokyo" in answers["a message"]
    assert "Rome" in answers["a conversation"]
    assert answers["a conversation, stopped"] == answers["a conversation"].split(" Rome")[0]
    assert answers["an echo"] == ECHO[-1]["content"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("version", some_nightly(FIRST))
def test_versions_before_0_1_8_return_the_text(reported: Reported, plain: Answers, version: str, name: str) -> None:
    assert reported(version, "cloud")[name] == plain[name]["answer"]


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("version", some_nightly(LATER))
def test_later_versions_return_the_response(reported: Reported, plain: Answers, version: str, name: str) -> None:
    answer = reported(version, "cloud")[name]
    assert answer == plain[name]
    assert set(answer) == {"answer", "usage", "model"}
    assert set(answer["usage"]) == {"completion_tokens", "prompt_tokens", "total_tokens"}
    assert answer["model"] == "demo"


@pytest.mark.parametrize("how", ["", ", async"])
@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("version", some_nightly(LATER))
def test_a_stream_has_the_same_answer(reported: Reported, plain: Answers, version: str, name: str, how: str) -> None:
    *frames, last = reported(version, "cloud_streams")[name + how]
    assert last == plain[name]["usage"] | {"model": plain[name]["model"]}
    assert all(list(frame) == ["text"] for frame in frames)
    assert "".join(frame["text"] for frame in frames) == plain[name]["answer"]


@pytest.mark.parametrize("how", ["", ", async"])
@pytest.mark.parametrize("version", some_nightly(LATER))
def test_a_stream_has_pieces_of_the_requested_size(reported: Reported, version: str, how: str) -> None:
    streams = reported(version, "cloud_streams")
    pieces = {name: [frame["text"] for frame in streams[name + how][:-1]] for name in STREAMS}
    assert 1 < len(pieces["a text"]) < len(pieces["a message"])
    # A client that removes `data: ` anywhere would lose this text.
    assert any("data: " in piece for piece in pieces["a text"])
    assert any("data: " in piece for piece in pieces["an echo"])


@pytest.mark.parametrize("version", some_nightly(FIRST))
def test_the_first_versions_raise_an_error(reported: Reported, version: str) -> None:
    error = reported(version, "cloud")["too many tokens"]
    assert error["raised"] == "HTTPError"
    assert error["text"].startswith("400 Client Error: Bad Request for url")


@pytest.mark.parametrize("script", ["cloud", "cloud_streams"])
@pytest.mark.parametrize("version", some_nightly(LATER))
def test_an_error_has_the_servers_message(reported: Reported, detail: str, version: str, script: str) -> None:
    error = reported(version, script)["too many tokens"]
    assert error == {"raised": "MaritalkHTTPError", "text": f"HTTP Error: 400 - Bad Request\nDetail: {detail}"}
    assert str(TOO_MANY) in detail
    assert "8192" in detail


@pytest.mark.parametrize("version", some_nightly(LATER))
def test_a_streams_error_is_raised(reported: Reported, version: str) -> None:
    streams = reported(version, "cloud_streams")
    assert "Client error '400 Bad Request'" in streams["too many tokens, async"]["text"]
    assert streams["no such model"]["text"].startswith("HTTP Error: 404 - Not Found\nDetail: ")
    assert "gpt-nope" in streams["no such model"]["text"]
