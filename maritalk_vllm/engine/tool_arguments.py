"""Tool calls that a request demands: their arguments are an object of the tool's schema, with or without `strict`."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .grammar_checks import check_schema, refusal

if TYPE_CHECKING:
    from vllm.tool_parsers.tool_strict_level import ToolStrictLevel

_NO_PARAMETERS = {"type": "object", "properties": {}}
_SAYS_NOTHING = {"type", "title", "description", "$schema"}
"""Keys of a schema that names no parameter."""
_SAYS_WHAT = ("type", "$ref", "allOf", "anyOf", "oneOf", "const", "enum")


def constrain_tool_arguments() -> None:
    """Have vLLM constrain the arguments of each call that `tool_choice` demands, in this process.

    By itself vLLM does so for tools that say `"strict": true`. Of any other, `required` and the choice of a function
    yield any JSON, such as a text, which no client takes for arguments. A call that the model may leave out stays free.
    """
    from vllm.tool_parsers import structural_tag_registry as registry
    from vllm.tool_parsers.tool_strict_level import ToolStrictLevel

    resolve, tag = registry.resolve_tool_strictness, registry.get_model_structural_tag
    if hasattr(resolve, "__wrapped__"):
        return

    @functools.wraps(resolve)
    def resolve_demanded(tools: Sequence[Any], tool_choice: Any, strict_level: "ToolStrictLevel") -> Any:  # noqa: ANN401
        if _demands_a_call(tool_choice):
            tools, strict_level = [*map(_with_object, tools)], ToolStrictLevel.PARAMETER
        return resolve(tools, tool_choice, strict_level)

    @functools.wraps(tag)
    def tag_compactly(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        made = tag(*arguments, **named)
        if made is not None:
            _limit_whitespace(made.format)
        return made

    registry.resolve_tool_strictness = resolve_demanded
    registry.get_model_structural_tag = tag_compactly


def _demands_a_call(tool_choice: Any) -> bool:  # noqa: ANN401
    """Whether it is `required`, or an object that names a function, or tools of which one is required."""
    if tool_choice is None or isinstance(tool_choice, str):
        return bool(tool_choice == "required")
    return getattr(tool_choice, "mode", "required") == "required"


def _with_object(tool: Any) -> Any:  # noqa: ANN401
    """The tool with a schema that only an object fits, in OpenAI's form of chats or in that of responses."""
    function = getattr(tool, "function", None)
    if function is not None:
        return tool.model_copy(update={"function": _with_object(function)})
    if not hasattr(tool, "parameters"):
        return tool
    what, parameters = f"The schema of the tool {tool.name!r}", _object(tool.parameters)
    if parameters.get("type", "object") != "object":
        raise refusal(what, f"arguments are an object, and its type is {parameters['type']!r}")
    check_schema(what, parameters)
    return tool.model_copy(update={"parameters": parameters})


def _object(schema: dict[str, Any] | None) -> dict[str, Any]:
    if not schema:
        return _NO_PARAMETERS
    if schema.keys() <= _SAYS_NOTHING and schema.get("type", "object") == "object":
        return {**schema, **_NO_PARAMETERS}
    kind = schema.get("type")
    if (isinstance(kind, list) and "object" in kind) or not any(key in schema for key in _SAYS_WHAT):
        return {**schema, "type": "object"}
    return schema


def _limit_whitespace(node: Any) -> None:  # noqa: ANN401
    """Arguments in JSON may have a single space between two parts: a small model adds line after line otherwise."""
    if isinstance(node, list | tuple):
        for each in node:
            _limit_whitespace(each)
    elif hasattr(node, "model_fields_set"):
        if getattr(node, "style", None) == "json" and node.max_whitespace_cnt is None:
            node.max_whitespace_cnt = 1
        for name in type(node).model_fields:
            _limit_whitespace(getattr(node, name))
