"""Anthropic's published client with vLLM's Messages API."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGES, STOPS, TOO_MANY
from tests.serving import Server

pytestmark = pytest.mark.clients

ENDS = {"plain": ("end_turn", None), "stopped": ("stop_sequence", " Rome")}


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> dict[str, Any]:
    inputs = {
        "base_url": f"http://127.0.0.1:{shared_server.port}",
        "system": MESSAGES[0]["content"],
        "messages": MESSAGES[1:],
        "stops": STOPS,
        "too many": TOO_MANY,
    }
    return run("anthropic-2.12.0", "anthropic_messages", inputs)


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> dict[str, Any]:
    """The server's answers to the same requests in OpenAI's API, without a client."""
    body = {"model": "demo", "messages": MESSAGES, "temperature": 0, "max_tokens": 12}
    stops = {"plain": [], "stopped": STOPS}
    return {name: shared_server.ask("/v1/chat/completions", body | {"stop": stop}).json for name, stop in stops.items()}


@pytest.mark.parametrize("how", ["", ", streamed"])
@pytest.mark.parametrize("name", ENDS)
def test_a_message_has_the_answer_and_usage(
    reported: dict[str, Any], plain: dict[str, Any], name: str, how: str
) -> None:
    message = reported[name + how]
    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "demo")
    (content,) = message["content"]
    assert content["type"] == "text"
    assert content["text"] == plain[name]["choices"][0]["message"]["content"]
    assert (message["stop_reason"], message["stop_sequence"]) == ENDS[name]
    assert message["usage"]["input_tokens"] == plain[name]["usage"]["prompt_tokens"]
    assert message["usage"]["output_tokens"] == plain[name]["usage"]["completion_tokens"]


@pytest.mark.parametrize("name", ENDS)
def test_a_stream_has_several_deltas(reported: dict[str, Any], plain: dict[str, Any], name: str) -> None:
    pieces = reported[f"{name}, in pieces"]
    assert len(pieces) > 1
    assert "".join(pieces) == plain[name]["choices"][0]["message"]["content"]


def test_max_tokens_cuts_the_answer(reported: dict[str, Any]) -> None:
    assert reported["cut"] == "max_tokens"


def test_count_tokens_returns_the_prompt_tokens(reported: dict[str, Any], plain: dict[str, Any]) -> None:
    assert reported["tokens"] == plain["plain"]["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("too many tokens", "BadRequestError", str(TOO_MANY)), ("no such model", "NotFoundError", "gpt-nope")],
)
def test_an_error_has_its_class_and_message(reported: dict[str, Any], name: str, kind: str, words: str) -> None:
    assert reported[name]["raised"] == kind
    assert words in reported[name]["text"]
