"""Required tool calls: their arguments match the tool's schema, on each API that has tools."""

import json
from typing import Any

import pytest

from tests.lanes import nightly
from tests.serving import Answer, Server

pytestmark = pytest.mark.engine

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Recife", "Manaus"]}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
MESSAGES = [{"role": "user", "content": "What is the weather like in Recife?"}]
NAMED = {"type": "function", "function": {"name": "weather"}}


def chat(server: Server, function: dict[str, Any], choice: object, **more: object) -> Answer:
    tools = [{"type": "function", "function": {"name": "weather", **function}}]
    body = {"model": "demo", "messages": MESSAGES, "tools": tools, "tool_choice": choice}
    return server.ask("/v1/chat/completions", {**body, "max_tokens": 100, "temperature": 0, **more})


def arguments(answer: Answer) -> Any:
    (call,) = answer.json["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    return json.loads(call["function"]["arguments"])


def assert_city(given: Any) -> None:
    assert set(given) == {"city", "days"}
    assert given["city"] in ("Recife", "Manaus")
    assert type(given["days"]) is int


@pytest.mark.parametrize("choice", [NAMED, "required"], ids=["named", "required"])
@pytest.mark.parametrize("more", [{}, *(nightly({"strict": strict}) for strict in (False, None, True))])
def test_chat_arguments_match_the_schema(shared_server: Server, choice: object, more: dict[str, Any]) -> None:
    assert_city(arguments(chat(shared_server, {"parameters": CITY, **more}, choice)))


@pytest.mark.parametrize("choice", [nightly(NAMED, id="named"), pytest.param("required", id="required")])
def test_streamed_chat_arguments_match_the_schema(shared_server: Server, choice: object) -> None:
    text = chat(shared_server, {"parameters": CITY}, choice, stream=True).body.decode()
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert_city(json.loads("".join(call["function"].get("arguments") or "" for call in calls)))


ALLOWED = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]}


@pytest.mark.parametrize(
    "choice",
    [
        nightly({"type": "function", "name": "weather"}, id="named"),
        pytest.param("required", id="required"),
        nightly(ALLOWED, id="allowed"),
    ],
)
def test_responses_arguments_match_the_schema(shared_server: Server, choice: object) -> None:
    tools = [{"type": "function", "name": "weather", "parameters": CITY}]
    body = {"model": "demo", "input": MESSAGES, "tools": tools, "tool_choice": choice}
    answer = shared_server.ask("/v1/responses", {**body, "max_output_tokens": 100, "temperature": 0})
    (call,) = (part for part in answer.json["output"] if part["type"] == "function_call")
    assert_city(json.loads(call["arguments"]))


@pytest.mark.parametrize(
    "choice", [pytest.param({"type": "tool", "name": "weather"}, id="named"), nightly({"type": "any"}, id="any")]
)
def test_messages_arguments_match_the_schema(shared_server: Server, choice: object) -> None:
    tools = [{"name": "weather", "input_schema": CITY}]
    body = {"model": "demo", "messages": MESSAGES, "tools": tools, "tool_choice": choice}
    answer = shared_server.ask("/v1/messages", {**body, "max_tokens": 100, "temperature": 0})
    (call,) = (part for part in answer.json["content"] if part["type"] == "tool_use")
    assert_city(call["input"])


@pytest.mark.parametrize(
    "function", [{}, *map(nightly, ({"parameters": None}, {"parameters": {}}, {"parameters": {"type": "object"}}))]
)
def test_tool_without_parameters_gets_an_object(shared_server: Server, function: dict[str, Any]) -> None:
    assert isinstance(arguments(chat(shared_server, function, NAMED)), dict)


@pytest.mark.nightly
def test_schema_without_type_is_an_object(shared_server: Server) -> None:
    parameters = {key: value for key, value in CITY.items() if key != "type"}
    assert_city(arguments(chat(shared_server, {"parameters": parameters}, NAMED)))


@pytest.mark.parametrize("choice", [NAMED, "required"], ids=["named", "required"])
@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"type": "string"}, "arguments are an object, and its type is 'string'"),
        ({"type": "object", "properties": {"a": {"type": "foo"}}}, 'Unsupported type "foo"'),
        ({"$ref": "#"}, "no text fits, because it refers to itself without an end"),
    ],
)
def test_unusable_tool_schema_is_rejected(
    shared_server: Server, parameters: dict[str, Any], reason: str, choice: object
) -> None:
    answer = chat(shared_server, {"parameters": parameters}, choice)
    assert answer.status == 400
    message = answer.json["error"]["message"]
    assert message.startswith("The schema of the tool 'weather' cannot be used: ")
    assert reason in message


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "#"}}}},
        {"structured_outputs": {"json": {"$ref": "#"}}},
        {"structured_outputs": {"grammar": "root ::= root"}},
        {"structured_outputs": {"regex": "(" * 101 + "a" + ")" * 101}},
        {"structured_outputs": {"regex": "a" * 140_000}},
        {"structured_outputs": {"json": {"type": "string", "pattern": "(" * 100_000 + ")" * 100_000}}},
    ],
    ids=["response_format", "json", "grammar", "groups", "long", "huge"],
)
def test_unusable_structured_output_is_rejected(shared_server: Server, form: dict[str, Any]) -> None:
    body = {"model": "demo", "messages": MESSAGES, "max_tokens": 4, **form}
    answer = shared_server.ask("/v1/chat/completions", body)
    assert (answer.status, answer.json["error"]["code"]) == (400, 400)
    assert "cannot be used: " in answer.json["error"]["message"]
