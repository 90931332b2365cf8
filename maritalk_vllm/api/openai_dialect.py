"""Differences between Maritaca's documented OpenAI-compatible API and vLLM's: one function for each.

Each function converts the body of a request to vLLM's form, or the body of a response or event to the documented form.
Sources: Maritaca's API reference and guides, as published from July 2024 to July 2026, and the API's published clients.
"""

from collections.abc import Callable
from typing import Any

from ..errors import RequestError

Body = dict[str, Any]
Adaptation = Callable[[Body], Body]

CHAT = "/v1/chat/completions"
BATCH = f"{CHAT}/batch"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
MODELS = "/v1/models"

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def check_messages(body: Body) -> Body:
    """Check roles against the reference of chat completions and OpenAI's; vLLM leaves them to the chat template.

    Raises RequestError, also for a prompt in addition to messages, which vLLM would ignore, and for messages that are
    not a list.
    """
    if body.get("prompt") is not None and body.get("messages") is not None:
        raise RequestError(
            "prompt and messages were both given.",
            f"{COMPLETIONS} takes prompt, {CHAT} messages.",
        )
    messages = body.get("messages") or ()
    if not isinstance(messages, list | tuple):
        raise RequestError("messages: a list was expected.", 'Send [{"role": "user", "content": ...}, ...].')
    for number, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if isinstance(role, str) and role not in _ROLES:
            raise RequestError(f"messages[{number}].role: there is no role {role!r}.", f"Known: {', '.join(_ROLES)}.")
    return body


def wrap_bare_functions(body: Body) -> Body:
    """Wrap bare functions in `tools`, which the guide to function calling also shows ("Functions" tab)."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not any(map(_is_bare_function, tools)):
        return body
    wrapped = [{"type": "function", "function": tool} if _is_bare_function(tool) else tool for tool in tools]
    return {**body, "tools": wrapped}


def _is_bare_function(tool: object) -> bool:
    return isinstance(tool, dict) and "name" in tool and "function" not in tool and "type" not in tool


def narrow_tools(body: Body) -> Body:
    """Apply OpenAI's `allowed_tools` by removing all other tools: vLLM does not enforce it.

    Raises RequestError for an allowed tool that is not among the request's tools.
    """
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return body
    # Chat Completions nests the other fields in `allowed_tools`, the Responses API does not.
    allowed = choice.get("allowed_tools", choice)
    tools, names = body.get("tools"), allowed.get("tools") if isinstance(allowed, dict) else None
    if not isinstance(tools, list) or not isinstance(names, list) or allowed.get("mode") not in ("auto", "required"):
        raise RequestError(
            "tool_choice: allowed_tools has to have a mode, auto or required, and tools of the request.",
            'Send {"type": "allowed_tools", "mode": "required", "tools": [...]}.',
        )
    allowed_names = [_tool_name(tool) for tool in names]
    if unknown := [name for name in allowed_names if name not in map(_tool_name, tools)]:
        raise RequestError(f"tool_choice: there is no tool {unknown[0]!r} among tools.", "Name one of them.")
    return {
        **body,
        "tools": [tool for tool in tools if _tool_name(tool) in allowed_names],
        "tool_choice": allowed["mode"],
    }


def _tool_name(tool: object) -> object:
    inner = tool.get("function", tool) if isinstance(tool, dict) else {}
    return inner.get("name") if isinstance(inner, dict) else None


def name_json_schema(body: Body) -> Body:
    """Add the schema name that vLLM requires. The guide to structured outputs omits it, in all of its three forms.

    The forms: `{"json_schema": {"schema": S, "strict": true}}`, `{"json_schema": S}` and `{"schema": S}`.
    """
    response_format = body.get("response_format")
    if not isinstance(response_format, dict) or response_format.get("type") != "json_schema":
        return body
    given = response_format.get("json_schema", response_format.get("schema"))
    if not isinstance(given, dict) or ("name" in given and "schema" in given):
        return body
    schema = given if "schema" in given else {"schema": given}
    return {**body, "response_format": {"type": "json_schema", "json_schema": {"name": "answer", **schema}}}


def default_store_false(body: Body) -> Body:
    """Set `store` to false unless given: the default in the reference of the Responses API.

    Raises RequestError for background mode: no route returns its results.
    """
    if body.get("background"):
        raise RequestError("background: this server answers each request at once.", "Leave it out.")
    return body if "store" in body else {**body, "store": False}


def without_null_content(chunk: Body) -> Body:
    """Remove a null `delta.content`: always a string in the streaming reference; langchain-maritaca fails on null."""
    for choice in chunk.get("choices", ()):
        delta = choice.get("delta", {})
        if "content" in delta and delta["content"] is None:
            del delta["content"]
    return chunk


def number_events_from_one(event: Body) -> Body:
    """Number events from 1 instead of 0, as in the reference of the Responses API."""
    if "sequence_number" in event:
        event["sequence_number"] += 1
    return event


def adapt_models(models: Body) -> Body:
    """Add `context_length` and `top_provider` to each model, as in the reference of the models list.

    vLLM's `root`, the model's folder on the server, becomes the name of the model that it is or adapts.
    """
    for model in models.get("data", ()):
        model["root"] = model.get("parent") or model["id"]
        length = model.get("max_model_len")
        model["context_length"] = length
        model["top_provider"] = {"context_length": length, "max_completion_tokens": length}
    return models


REQUESTS: dict[str, tuple[Adaptation, ...]] = {
    CHAT: (check_messages, wrap_bare_functions, narrow_tools, name_json_schema),
    BATCH: (),
    COMPLETIONS: (check_messages, name_json_schema),
    RESPONSES: (narrow_tools, default_store_false),
    MESSAGES: (),
    f"{MESSAGES}/count_tokens": (),
    "/tokenize": (),
    "/detokenize": (),
}
"""Adaptations of a request by path. On all of these paths, `model` may be an alias."""

EVENTS: dict[str, tuple[Adaptation, bytes]] = {
    CHAT: (without_null_content, b'"content":null'),
    RESPONSES: (number_events_from_one, b'"sequence_number":'),
}
"""Adaptation of stream events by request path, and the bytes that an event must contain to need it."""
