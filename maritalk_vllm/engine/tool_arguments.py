"""Constrain the arguments of required tool calls to the tool's schema, with or without `strict`."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .grammar_checks import check_schema, grammar_error

if TYPE_CHECKING:
    from vllm.tool_parsers.tool_strict_level import ToolStrictLevel

_NO_PARAMETERS = {"type": "object", "properties": {}}
_ANNOTATION_KEYS = {"type", "title", "description", "$schema"}
"""Keys that do not constrain an object: a schema with no others names no parameter."""
_CONSTRAINT_KEYS = ("type", "$ref", "allOf", "anyOf", "oneOf", "const", "enum")


def constrain_tool_arguments() -> None:
    """Patch vLLM in this process to constrain the arguments of each call that `tool_choice` requires.

    By default vLLM does so only for tools with `"strict": true`. For others, `required` and a named function allow any
    JSON, such as a string, which no client accepts as arguments. Optional calls remain unconstrained.
    """
    from vllm.tool_parsers import structural_tag_registry as registry
    from vllm.tool_parsers.tool_strict_level import ToolStrictLevel

    resolve, tag = registry.resolve_tool_strictness, registry.get_model_structural_tag
    if hasattr(resolve, "__wrapped__"):
        return

    @functools.wraps(resolve)
    def resolve_required(tools: Sequence[Any], tool_choice: Any, strict_level: "ToolStrictLevel") -> Any:  # noqa: ANN401
        if _requires_a_call(tool_choice):
            tools, strict_level = [*map(_with_object_schema, tools)], ToolStrictLevel.PARAMETER
        return resolve(tools, tool_choice, strict_level)

    @functools.wraps(tag)
    def tag_with_limited_whitespace(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        result = tag(*arguments, **named)
        if result is not None:
            _limit_whitespace(result.format)
        return result

    registry.resolve_tool_strictness = resolve_required
    registry.get_model_structural_tag = tag_with_limited_whitespace


def _requires_a_call(tool_choice: Any) -> bool:  # noqa: ANN401
    """Whether `tool_choice` is `required`, names a function, or requires one of its allowed tools."""
    if tool_choice is None or isinstance(tool_choice, str):
        return bool(tool_choice == "required")
    return getattr(tool_choice, "mode", "required") == "required"


def _with_object_schema(tool: Any) -> Any:  # noqa: ANN401
    """The tool with a schema that only objects match, in the form of Chat Completions or of the Responses API."""
    function = getattr(tool, "function", None)
    if function is not None:
        return tool.model_copy(update={"function": _with_object_schema(function)})
    if not hasattr(tool, "parameters"):
        return tool
    what, parameters = f"The schema of the tool {tool.name!r}", _object_schema(tool.parameters)
    if parameters.get("type", "object") != "object":
        raise grammar_error(what, f"arguments are an object, and its type is {parameters['type']!r}")
    check_schema(what, parameters)
    return tool.model_copy(update={"parameters": parameters})


def _object_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    if not schema:
        return _NO_PARAMETERS
    if schema.keys() <= _ANNOTATION_KEYS and schema.get("type", "object") == "object":
        return {**schema, **_NO_PARAMETERS}
    kind = schema.get("type")
    if (isinstance(kind, list) and "object" in kind) or not any(key in schema for key in _CONSTRAINT_KEYS):
        return {**schema, "type": "object"}
    return schema


def _limit_whitespace(node: Any) -> None:  # noqa: ANN401
    """Allow a single space between two JSON tokens: otherwise a small model adds line after line."""
    if isinstance(node, list | tuple):
        for each in node:
            _limit_whitespace(each)
    elif hasattr(node, "model_fields_set"):
        if getattr(node, "style", None) == "json" and node.max_whitespace_cnt is None:
            node.max_whitespace_cnt = 1
        for name in type(node).model_fields:
            _limit_whitespace(getattr(node, name))
