"""Where Maritaca's documents of its OpenAI-compatible API say one thing and vLLM does another: a function for each.

Each takes a request's body and gives it back as vLLM wants it, or takes an answer's and gives it back as the documents
show it. The documents: Maritaca's API reference and guides, as published from July 2024 to July 2026, and the API's
published clients.
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
    """Roles as in the reference of chat completions, and OpenAI's: vLLM leaves them to the template.

    Raises RequestError, also for a prompt beside the messages, which vLLM would not read, and for no list.
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
    """The guide to function calling shows `tools` both as OpenAI has them and as bare functions ("Functions" tab)."""
    tools = body.get("tools")
    if not isinstance(tools, list) or not any(map(_is_bare_function, tools)):
        return body
    wrapped = [{"type": "function", "function": tool} if _is_bare_function(tool) else tool for tool in tools]
    return {**body, "tools": wrapped}


def _is_bare_function(tool: object) -> bool:
    return isinstance(tool, dict) and "name" in tool and "function" not in tool and "type" not in tool


def narrow_tools(body: Body) -> Body:
    """OpenAI's `allowed_tools` as the choice among the tools that it allows: vLLM does not hold to it.

    Raises RequestError for one that is not among the request's tools.
    """
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return body
    # Chats have the rest in an object of its own, responses beside the type.
    allowed = choice.get("allowed_tools", choice)
    tools, names = body.get("tools"), allowed.get("tools") if isinstance(allowed, dict) else None
    if not isinstance(tools, list) or not isinstance(names, list) or allowed.get("mode") not in ("auto", "required"):
        raise RequestError(
            "tool_choice: allowed_tools has to have a mode, auto or required, and tools of the request.",
            'Send {"type": "allowed_tools", "mode": "required", "tools": [...]}.',
        )
    wanted = [_name(tool) for tool in names]
    if unknown := [name for name in wanted if name not in map(_name, tools)]:
        raise RequestError(f"tool_choice: there is no tool {unknown[0]!r} among tools.", "Name one of them.")
    return {**body, "tools": [tool for tool in tools if _name(tool) in wanted], "tool_choice": allowed["mode"]}


def _name(tool: object) -> object:
    inner = tool.get("function", tool) if isinstance(tool, dict) else {}
    return inner.get("name") if isinstance(inner, dict) else None


def name_json_schema(body: Body) -> Body:
    """The guide to structured outputs spells `json_schema` in three ways, none of them with the name that vLLM wants.

    `{"json_schema": {"schema": S, "strict": true}}`, `{"json_schema": S}` and `{"schema": S}`.
    """
    asked = body.get("response_format")
    if not isinstance(asked, dict) or asked.get("type") != "json_schema":
        return body
    given = asked.get("json_schema", asked.get("schema"))
    if not isinstance(given, dict) or ("name" in given and "schema" in given):
        return body
    schema = given if "schema" in given else {"schema": given}
    return {**body, "response_format": {"type": "json_schema", "json_schema": {"name": "answer", **schema}}}


def default_store_false(body: Body) -> Body:
    """The reference of the Responses API: `store` is false unless it is set.

    Raises RequestError for an answer in the background, which no route returns.
    """
    if body.get("background"):
        raise RequestError("background: this server answers each request at once.", "Leave it out.")
    return body if "store" in body else {**body, "store": False}


def without_null_content(chunk: Body) -> Body:
    """The reference of streaming has `delta.content` as a text wherever it is: langchain-maritaca dies of a null."""
    for choice in chunk.get("choices", ()):
        delta = choice.get("delta", {})
        if "content" in delta and delta["content"] is None:
            del delta["content"]
    return chunk


def number_events_from_one(event: Body) -> Body:
    """The reference of the Responses API shows the first event of a stream with the `sequence_number` 1."""
    if "sequence_number" in event:
        event["sequence_number"] += 1
    return event


def with_context_length(models: Body) -> Body:
    """The reference of the models list: `context_length`, and `top_provider` with the longest answer."""
    for model in models.get("data", ()):
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
"""What is done to a request, by its path; on each of them, `model` may be an alias."""

EVENTS: dict[str, tuple[Adaptation, bytes]] = {
    CHAT: (without_null_content, b'"content":null'),
    RESPONSES: (number_events_from_one, b'"sequence_number":'),
}
"""What is done to an event of a stream, by the request's path, and the bytes without which there is nothing to do."""
