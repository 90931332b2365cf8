"""ChatMaritaca of the published langchain-maritaca, against the OpenAI-compatible routes under Maritaca's prefix."""

from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import ECHO, MESSAGE, MESSAGES, STOPS, TOO_MANY, WEATHER
from tests.serving import Server

pytestmark = pytest.mark.clients

CALLS: dict[str, dict[str, Any]] = {
    "a conversation": {"messages": MESSAGES, "stop": None},
    "a conversation, stopped": {"messages": MESSAGES, "stop": STOPS},
    "an echo": {"messages": ECHO, "stop": None},
}
JSON = "What is the capital of France? Answer in JSON."


@pytest.fixture(scope="module")
def told(shared_server: Server) -> dict[str, Any]:
    asked = {
        "base_url": f"http://127.0.0.1:{shared_server.port}/api",
        "calls": CALLS,
        "message": MESSAGE,
        "tool": WEATHER,
        "json": JSON,
        "too many": TOO_MANY,
    }
    return run("langchain-maritaca-0.4.1", "chat_maritaca", asked)


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> dict[str, Any]:
    """What the server answers to the same, without a client."""
    greedy = {"model": "demo", "temperature": 0, "max_tokens": 12}
    return {name: shared_server.ask("/v1/chat/completions", call | greedy).json for name, call in CALLS.items()}


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", CALLS)
def test_answers(told: dict[str, Any], plain: dict[str, Any], name: str, method: str) -> None:
    assert "".join(told[f"{name}, {method}"]) == plain[name]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("method", ["stream", "astream"])
def test_a_stream_comes_in_pieces(told: dict[str, Any], method: str) -> None:
    assert len([piece for piece in told[f"a conversation, {method}"] if piece]) > 1


@pytest.mark.parametrize("name", CALLS)
def test_usage(told: dict[str, Any], plain: dict[str, Any], name: str) -> None:
    usage = plain[name]["usage"]
    assert told[f"{name}, usage"] == {
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
    }


@pytest.mark.parametrize("choice", ["required", "named"])
def test_a_tool_that_has_to_be_called(told: dict[str, Any], choice: str) -> None:
    (call,) = told[f"a tool, {choice}"]
    assert (call["type"], call["name"]) == ("tool_call", "weather")
    assert call["args"]["city"] in ("Recife", "Manaus")
    assert call["id"]


def test_an_answer_in_a_form(told: dict[str, Any]) -> None:
    assert told["a form"] in ({"city": "Recife"}, {"city": "Manaus"})


def test_an_answer_in_json(told: dict[str, Any]) -> None:
    assert isinstance(told["json"], dict)


@pytest.mark.parametrize("method", ["invoke", "stream"])
def test_too_many_tokens(told: dict[str, Any], method: str) -> None:
    error = told[f"too many tokens, {method}"]
    assert error["raised"] == "HTTPStatusError"
    assert error["text"].startswith("Client error '400 Bad Request'")
