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
Reported = dict[str, Any]


@pytest.fixture(scope="module")
def reported(shared_server: Server) -> Reported:
    inputs = {
        "base_url": f"http://127.0.0.1:{shared_server.port}/api",
        "messages": MESSAGES,
        "stops": STOPS,
        "tools": [WEATHER],
        "tool choices": CHOICES,
        "form": {"type": "json_schema", "json_schema": {"name": "city", "schema": FORM, "strict": True}},
        "too many": TOO_MANY,
    }
    return run("openai-3.54.0", "openai_chat", inputs)


@pytest.fixture(scope="module")
def answer(shared_server: Server) -> str:
    """The answer of MariTalk Local's route to the same conversation."""
    body = {"messages": MESSAGES, "do_sample": False, "max_tokens": 12}
    return shared_server.ask("/chat/generate", body).json["output"]


def deltas(chunks: list[Reported]) -> list[Reported]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


@pytest.mark.parametrize("how", ["plain", "async"])
def test_a_completion_has_the_answer_and_usage(reported: Reported, answer: str, how: str) -> None:
    (choice,) = reported[how]["choices"]
    assert reported[how]["object"] == "chat.completion"
    assert (choice["message"]["role"], choice["message"]["content"]) == ("assistant", answer)
    assert choice["finish_reason"] == "stop"
    usage = reported[how]["usage"]
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_finish_reasons_are_stop_and_length(reported: Reported, answer: str) -> None:
    (stopped,), (cut,) = reported["stopped"]["choices"], reported["cut"]["choices"]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == (answer.split(" Rome")[0], "stop")
    assert (cut["finish_reason"], reported["cut"]["usage"]["completion_tokens"]) == ("length", 3)
    assert answer.startswith(cut["message"]["content"])


def test_a_stream_has_the_same_answer_and_usage(reported: Reported, answer: str) -> None:
    first, *rest = deltas(reported["streamed"])
    assert (first["role"], first["content"]) == ("assistant", "")
    # `null` would end the stream of langchain-maritaca: a chunk without text has an empty content, or none.
    pieces = [delta.get("content", "") for delta in rest]
    assert None not in pieces
    assert "".join(pieces) == answer
    assert len(pieces) > 1
    *_, end, last = reported["streamed"]
    assert end["choices"][0]["finish_reason"] == "stop"
    assert last["choices"] == []
    assert all(count == reported["plain"]["usage"][name] for name, count in last["usage"].items())


def test_n_returns_two_choices(reported: Reported) -> None:
    first, second = reported["two"]["choices"]
    assert (first["index"], second["index"]) == (0, 1)
    assert first["message"]["content"]
    assert second["message"]["content"]
    assert reported["two"]["usage"]["completion_tokens"] <= 8


def test_logprobs_are_sorted_and_match_the_answer(reported: Reported, answer: str) -> None:
    tokens = reported["logprobs"]["content"]
    assert answer.startswith("".join(token["token"] for token in tokens))
    for token in tokens:
        likeliest, next_likeliest = token["top_logprobs"]
        assert token["token"] == likeliest["token"]
        assert 0 >= likeliest["logprob"] >= next_likeliest["logprob"]


def test_a_json_schema_is_enforced(reported: Reported) -> None:
    answer = json.loads(reported["form"])
    assert set(answer) == {"city", "is_capital"}
    assert answer["city"] in FORM["properties"]["city"]["enum"]
    assert type(answer["is_capital"]) is bool


@pytest.mark.parametrize("name", CHOICES)
def test_a_required_tool_is_called(reported: Reported, name: str) -> None:
    message = reported[f"a tool, {name}"]["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call["id"]
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert json.loads(call["function"]["arguments"]) in ({"city": "Recife"}, {"city": "Manaus"})
    assert not message["content"]


@pytest.mark.parametrize("name", CHOICES)
def test_a_tool_call_is_streamed(reported: Reported, name: str) -> None:
    calls = [call for delta in deltas(reported[f"a tool, {name}, streamed"]) for call in delta.get("tool_calls", ())]
    assert {call["index"] for call in calls} == {0}
    assert [call["id"] for call in calls if call.get("id")] == [calls[0]["id"]]
    assert calls[0]["function"]["name"] == "weather"
    arguments = "".join(call["function"].get("arguments") or "" for call in calls)
    assert json.loads(arguments) in ({"city": "Recife"}, {"city": "Manaus"})


def test_the_finish_reason_of_a_tool_call(reported: Reported) -> None:
    """As with OpenAI: `tool_calls` if the model chose the tool, `stop` if the request named it."""
    for name, reason in {"required": "tool_calls", "named": "stop"}.items():
        assert reported[f"a tool, {name}"]["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize("name", ["too many tokens", "too many tokens, streamed"])
def test_too_many_tokens_raise_an_error(reported: Reported, name: str) -> None:
    assert reported[name]["raised"] == "BadRequestError"
    assert reported[name]["text"].startswith("Error code: 400")
    assert str(TOO_MANY) in reported[name]["text"]
    assert "8192" in reported[name]["text"]
