"""Each adaptation between Maritaca's documents and vLLM, in isolation."""

import pytest

from maritalk_vllm.api import openai_dialect
from maritalk_vllm.errors import RequestError

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": FUNCTION}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([FUNCTION], [WRAPPED]),
        ([FUNCTION, WRAPPED], [WRAPPED, WRAPPED]),
        ([WRAPPED], [WRAPPED]),
        ([], []),
        (None, None),
        ("nonsense", "nonsense"),
        ([3], [3]),
        ([{"type": "web_search", "name": "x"}], [{"type": "web_search", "name": "x"}]),
    ],
)
def test_bare_functions_are_wrapped(given: object, wanted: object) -> None:
    assert openai_dialect.wrap_bare_functions({"tools": given}) == {"tools": wanted}


def test_request_without_differences_is_unchanged() -> None:
    body: openai_dialect.Body = {"messages": [{"role": "user", "content": "x"}], "model": "demo"}
    for adapt in openai_dialect.REQUESTS[openai_dialect.CHAT]:
        assert adapt(body) is body


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"json_schema": {"schema": SCHEMA, "strict": True}}, {"name": "answer", "schema": SCHEMA, "strict": True}),
        ({"json_schema": SCHEMA}, {"name": "answer", "schema": SCHEMA}),
        ({"schema": SCHEMA}, {"name": "answer", "schema": SCHEMA}),
        ({"json_schema": {"name": "own", "schema": SCHEMA}}, {"name": "own", "schema": SCHEMA}),
    ],
)
def test_json_schema_gets_a_name(given: openai_dialect.Body, wanted: object) -> None:
    body = {"response_format": {"type": "json_schema", **given}}
    assert openai_dialect.name_json_schema(body) == {"response_format": {"type": "json_schema", "json_schema": wanted}}


@pytest.mark.parametrize("given", [None, "x", {"type": "json_object"}, {"type": "json_schema"}, {"type": "text"}])
def test_other_response_formats_are_unchanged(given: object) -> None:
    assert openai_dialect.name_json_schema({"response_format": given}) == {"response_format": given}


def test_unknown_roles_and_non_lists_are_rejected() -> None:
    for role in ("system", "developer", "user", "assistant", "tool", "function"):
        openai_dialect.check_messages({"messages": [{"role": role, "content": "x"}]})
    with pytest.raises(RequestError, match=r"messages\[1\].role: there is no role 'robot'"):
        openai_dialect.check_messages({"messages": [{"role": "user"}, {"role": "robot"}]})
    ignored: tuple[object, ...] = (None, [], [3], [{}], [{"role": 3}])
    for messages in ignored:
        openai_dialect.check_messages({"messages": messages})
    for no_list in ("x", 3, {"role": "user"}):
        with pytest.raises(RequestError, match="messages: a list"):
            openai_dialect.check_messages({"messages": no_list})


def test_prompt_and_messages_together_are_rejected() -> None:
    with pytest.raises(RequestError, match="both given"):
        openai_dialect.check_messages({"messages": [], "prompt": "x"})
    openai_dialect.check_messages({"messages": None, "prompt": "x"})


def test_store_defaults_to_false() -> None:
    assert openai_dialect.default_store_false({}) == {"store": False}
    assert openai_dialect.default_store_false({"store": True}) == {"store": True}


def test_null_content_is_removed() -> None:
    chunk = {"choices": [{"delta": {"content": None, "tool_calls": []}}, {"delta": {"content": "x"}}, {}]}
    assert openai_dialect.without_null_content(chunk) == {
        "choices": [{"delta": {"tool_calls": []}}, {"delta": {"content": "x"}}, {}]
    }


def test_events_are_numbered_from_one() -> None:
    assert openai_dialect.number_events_from_one({"sequence_number": 0}) == {"sequence_number": 1}
    assert openai_dialect.number_events_from_one({"x": 0}) == {"x": 0}


def test_models_list_shows_no_path_of_the_server() -> None:
    base = {"id": "demo", "root": "/srv/models/demo", "parent": None}
    adapter = {"id": "legal", "root": "/srv/adapters/legal", "parent": "demo"}
    shown = openai_dialect.adapt_models({"data": [base, adapter]})["data"]
    assert [model["root"] for model in shown] == ["demo", "demo"]


def test_models_list_has_context_length() -> None:
    (model,) = openai_dialect.adapt_models({"data": [{"id": "demo", "max_model_len": 8192}]})["data"]
    assert model["context_length"] == 8192
    assert model["top_provider"] == {"context_length": 8192, "max_completion_tokens": 8192}


TOOLS = [{"type": "function", "function": {"name": "a"}}, {"type": "function", "function": {"name": "b"}}]
FLAT = [{"type": "function", "name": "a"}, {"type": "function", "name": "b"}]


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools_removes_other_tools(mode: str) -> None:
    of_chats = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": TOOLS[1:]}}
    narrowed = openai_dialect.narrow_tools({"tools": TOOLS, "tool_choice": of_chats, "n": 1})
    assert narrowed == {"tools": TOOLS[1:], "tool_choice": mode, "n": 1}
    of_responses = {"type": "allowed_tools", "mode": mode, "tools": FLAT[1:]}
    assert openai_dialect.narrow_tools({"tools": FLAT, "tool_choice": of_responses}) == {
        "tools": FLAT[1:],
        "tool_choice": mode,
    }


@pytest.mark.parametrize("choice", ["auto", "required", None, {"type": "function", "name": "a"}])
def test_other_tool_choices_are_unchanged(choice: object) -> None:
    body = {"tools": FLAT, "tool_choice": choice}
    assert openai_dialect.narrow_tools(body) is body


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"mode": "required", "tools": [{"type": "function", "name": "c"}]}, "there is no tool 'c' among tools"),
        ({"mode": "sometimes", "tools": FLAT}, "has to have a mode, auto or required"),
        ({"mode": "auto"}, "and tools of the request"),
        ({"allowed_tools": 7}, "has to have a mode"),
    ],
)
def test_invalid_allowed_tools_are_rejected(rest: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        openai_dialect.narrow_tools({"tools": FLAT, "tool_choice": {"type": "allowed_tools", **rest}})
    assert message in str(caught.value)
