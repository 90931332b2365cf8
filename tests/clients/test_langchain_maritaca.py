"""ChatMaritaca of the published langchain-maritaca, with the OpenAI-compatible routes under Maritaca's prefix."""

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
def reported(shared_server: Server) -> dict[str, Any]:
    inputs = {
        "base_url": f"http://127.0.0.1:{shared_server.port}/api",
        "calls": CALLS,
        "message": MESSAGE,
        "tool": WEATHER,
        "json": JSON,
        "too many": TOO_MANY,
    }
    return run("langchain-maritaca-0.4.1", "chat_maritaca", inputs)


@pytest.fixture(scope="module")
def plain(shared_server: Server) -> dict[str, Any]:
    """The server's answers to the same requests, without a client."""
    greedy = {"model": "demo", "temperature": 0, "max_tokens": 12}
    return {name: shared_server.ask("/v1/chat/completions", call | greedy).json for name, call in CALLS.items()}


@pytest.mark.parametrize("method", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", CALLS)
def test_each_method_returns_the_answer(
    reported: dict[str, Any], plain: dict[str, Any], name: str, method: str
) -> None:
    assert "".join(reported[f"{name}, {method}"]) == plain[name]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("method", ["stream", "astream"])
def test_a_stream_has_several_pieces(reported: dict[str, Any], method: str) -> None:
    assert len([piece for piece in reported[f"a conversation, {method}"] if piece]) > 1


@pytest.mark.parametrize("name", CALLS)
def test_usage_is_reported(reported: dict[str, Any], plain: dict[str, Any], name: str) -> None:
    usage = plain[name]["usage"]
    assert reported[f"{name}, usage"] == {
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "total_tokens": usage["total_tokens"],
    }


@pytest.mark.parametrize("choice", ["required", "named"])
def test_a_required_tool_is_called(reported: dict[str, Any], choice: str) -> None:
    (call,) = reported[f"a tool, {choice}"]
    assert (call["type"], call["name"]) == ("tool_call", "weather")
    assert call["args"]["city"] in ("Recife", "Manaus")
    assert call["id"]


def test_structured_output_matches_the_schema(reported: dict[str, Any]) -> None:
    assert reported["a form"] in ({"city": "Recife"}, {"city": "Manaus"})


def test_json_mode_returns_json(reported: dict[str, Any]) -> None:
    assert isinstance(reported["json"], dict)


@pytest.mark.parametrize("method", ["invoke", "stream"])
def test_too_many_tokens_raise_an_error(reported: dict[str, Any], method: str) -> None:
    error = reported[f"too many tokens, {method}"]
    assert error["raised"] == "HTTPStatusError"
    assert error["text"].startswith("Client error '400 Bad Request'")
