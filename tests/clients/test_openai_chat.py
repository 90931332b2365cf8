"""Chat completions through OpenAI's published client."""

import json
from typing import Any

import pytest

from tests.clients.environments import run
from tests.clients.questions import MESSAGES, STOPS, TOO_MANY, WEATHER
from tests.serving import Server

pytestmark = pytest.mark.clients

CHOICES = {"required": "required", "named": {"type": "function", "function": {"name": "weather"}}}
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "is_capital": {"type": "boolean"}},
    "required": ["city", "is_capital"],
    "additionalProperties": False,
}
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(shared_server: Server) -> Told:
    asked = {
        "base_url": f"http://127.0.0.1:{shared_server.port}/api",
        "messages": MESSAGES,
        "stops": STOPS,
        "tools": [WEATHER],
        "tool choices": CHOICES,
        "form": {"type": "json_schema", "json_schema": {"name": "city", "schema": FORM, "strict": True}},
        "too many": TOO_MANY,
    }
    return run("openai-3.54.0", "openai_chat", asked)


@pytest.fixture(scope="module")
def answer(shared_server: Server) -> str:
    """What the server answers to the same conversation by a route of its own."""
    body = {"messages": MESSAGES, "do_sample": False, "max_tokens": 12}
    return shared_server.ask("/chat/generate", body).json["output"]


def deltas(chunks: list[Told]) -> list[Told]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


@pytest.mark.parametrize("how", ["plain", "async"])
def test_an_answer(told: Told, answer: str, how: str) -> None:
    (choice,) = told[how]["choices"]
    assert told[how]["object"] == "chat.completion"
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", answer)
    assert choice["finish_reason"] == "stop"
    usage = told[how]["usage"]
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_ends(told: Told, answer: str) -> None:
    (stopped,), (cut,) = told["stopped"]["choices"], told["cut"]["choices"]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == (answer.split(" Rome")[0], "stop")
    assert (cut["finish_reason"], told["cut"]["usage"]["completion_tokens"]) == ("length", 3)
    assert answer.startswith(cut["message"]["content"])


def test_a_stream(told: Told, answer: str) -> None:
    first, *rest = deltas(told["streamed"])
    assert (first["role"], first["content"]) == ("assistant", "")
    # `null` would end the stream of langchain-maritaca: where a chunk has no text, it has an empty one, or none.
    pieces = [delta.get("content", "") for delta in rest]
    assert None not in pieces
    assert "".join(pieces) == answer
    assert len(pieces) > 1
    *_, end, last = told["streamed"]
    assert end["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert all(count == told["plain"]["usage"][name] for name, count in last["usage"].items())


def test_two_answers(told: Told) -> None:
    first, second = told["two"]["choices"]
    assert (first["index"], second["index"]) == (0, 1)
    assert first["message"]["content"]
    assert second["message"]["content"]
    assert told["two"]["usage"]["completion_tokens"] <= 8


def test_logprobs(told: Told, answer: str) -> None:
    tokens = told["logprobs"]["content"]
    assert answer.startswith("".join(token["token"] for token in tokens))
    for token in tokens:
        likeliest, next_likeliest = token["top_logprobs"]
        assert token["token"] == likeliest["token"]
        assert 0 >= likeliest["logprob"] >= next_likeliest["logprob"]


def test_an_answer_in_a_form(told: Told) -> None:
    answer = json.loads(told["form"])
    assert set(answer) == {"city", "is_capital"}
    assert answer["city"] in FORM["properties"]["city"]["enum"]
    assert type(answer["is_capital"]) is bool


@pytest.mark.parametrize("name", CHOICES)
def test_a_tool_that_has_to_be_called(told: Told, name: str) -> None:
    message = told[f"a tool, {name}"]["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call["id"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert json.loads(call["function"]["arguments"]) in ({"city": "Recife"}, {"city": "Manaus"})
    assert not message["content"]


@pytest.mark.parametrize("name", CHOICES)
def test_a_tool_that_is_called_in_a_stream(told: Told, name: str) -> None:
    calls = [call for delta in deltas(told[f"a tool, {name}, streamed"]) for call in delta.get("tool_calls", ())]
    assert {call["index"] for call in calls} == {0}
    assert [call["id"] for call in calls if call.get("id")] == [calls[0]["id"]]
    assert calls[0]["function"]["name"] == "weather"
    arguments = "".join(call["function"].get("arguments") or "" for call in calls)
    assert json.loads(arguments) in ({"city": "Recife"}, {"city": "Manaus"})


def test_how_a_call_of_a_tool_ends(told: Told) -> None:
    """As OpenAI has it: `tool_calls` where the model chose the tool, `stop` where it was named."""
    for name, reason in {"required": "tool_calls", "named": "stop"}.items():
        assert told[f"a tool, {name}"]["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize("name", ["too many tokens", "too many tokens, streamed"])
def test_too_many_tokens(told: Told, name: str) -> None:
    assert told[name]["raised"] == "BadRequestError"
    assert told[name]["text"].startswith("Error code: 400")
    assert str(TOO_MANY) in told[name]["text"]
    assert "8192" in told[name]["text"]
