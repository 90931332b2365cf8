"""MariTalkLocal in all published versions of `maritalk`."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.clients.environments import run, some_nightly
from tests.clients.questions import LINE, MESSAGE, MESSAGES, PROMPT, STOPS, TOO_MANY
from tests.serving import Server

pytestmark = pytest.mark.clients

FIRST = ["0.1.0", "0.1.5"]
LATER = ["0.1.7", "0.2.0", "0.2.3", "0.2.5", "0.2.7", "0.3.2"]

GREEDY = {"max_tokens": 12, "do_sample": False}
ASKED = {
    "a text": ("/generate", {"prompt": PROMPT} | GREEDY),
    "a text, stopped": ("/generate", {"prompt": PROMPT, "stop_sequences": STOPS} | GREEDY),
    "a text, with a seed": ("/generate", {"prompt": PROMPT, "max_tokens": 12, "temperature": 3.0, "seed": 7}),
    "a message": ("/chat/generate", {"messages": [{"role": "user", "content": MESSAGE}]} | GREEDY),
    "a conversation": ("/chat/generate", {"messages": MESSAGES} | GREEDY),
    "too many tokens": ("/generate", {"prompt": PROMPT, "max_tokens": TOO_MANY}),
    "too many tokens for a conversation": ("/chat/generate", {"messages": MESSAGES, "max_tokens": TOO_MANY}),
}
"""The request of each call in the scripts."""
Answers = dict[str, dict[str, Any]]
Reported = Callable[[str], dict[str, Any]]
"""The reports of a client's version."""


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> Reported:
    """Run each version once, and return what it reported."""

    @cache
    def ask(version: str) -> dict[str, Any]:
        inputs = {
            "port": shared_server.port,
            "prompt": PROMPT,
            "message": MESSAGE,
            "messages": MESSAGES,
            "stops": STOPS,
            "too many": TOO_MANY,
        }
        return run(f"maritalk-{version}", "local_first" if version in FIRST else "local", inputs)

    return ask


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> Answers:
    """The server's answers to the same requests, without a client."""
    return {name: shared_server.ask(path, body).json for name, (path, body) in ASKED.items()}


@pytest.mark.parametrize("version", some_nightly([*FIRST, *LATER]))
def test_the_status_is_idle(reported: Reported, version: str) -> None:
    assert reported(version)["status"] == {"status": "idle"}


@pytest.mark.parametrize("name", ["a text", "a text, stopped", "a conversation"])
@pytest.mark.parametrize("version", some_nightly([*FIRST, *LATER]))
def test_each_version_returns_the_answer(reported: Reported, plain: Answers, version: str, name: str) -> None:
    answer = reported(version)[name]
    assert list(answer) == ["output", "queue_time", "prompt_time", "generation_time"]
    assert all(type(time) is int for time in list(answer.values())[1:])
    assert answer["output"] == plain[name]["output"]


def test_the_expected_answers_have_the_intended_content(plain: Answers) -> None:
    assert plain["a text"]["output"].startswith(LINE)
    assert plain["a text, stopped"]["output"] == LINE.split(" x")[0]
    assert "Rome" in plain["a conversation"]["output"]


@pytest.mark.parametrize("name", ["a text, with a seed", "a message"])
@pytest.mark.parametrize("version", some_nightly(LATER))
def test_calls_of_later_versions_return_the_answer(reported: Reported, plain: Answers, version: str, name: str) -> None:
    assert reported(version)[name]["output"] == plain[name]["output"]


@pytest.mark.parametrize("name", ["too many tokens", "a list as a text"])
@pytest.mark.parametrize("version", some_nightly(FIRST))
def test_the_first_versions_raise_an_error(reported: Reported, version: str, name: str) -> None:
    error = reported(version)[name]
    assert error["raised"] == "HTTPError"
    assert error["text"].startswith("400 Client Error: Bad Request for url")


@pytest.mark.parametrize("name", ["too many tokens", "too many tokens for a conversation"])
@pytest.mark.parametrize("version", some_nightly(LATER))
def test_versions_since_0_1_6_return_the_error(reported: Reported, plain: Answers, version: str, name: str) -> None:
    answer = reported(version)[name]
    assert answer == plain[name]
    assert list(answer) == ["error"]
    assert str(TOO_MANY) in answer["error"]
    assert "8192" in answer["error"]
