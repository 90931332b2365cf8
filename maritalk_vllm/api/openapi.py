"""OpenAPI descriptions of routes that parse and serialize JSON themselves."""

from typing import Any

import msgspec

from .media_types import EVENTS, JSON


def documented(
    *,
    response: type[msgspec.Struct],
    response_example: object,
    request: type[msgspec.Struct] | None = None,
    request_examples: dict[str, object] | None = None,
    stream_example: str = "",
    error_examples: dict[int, str] | None = None,
    error_key: str = "error",
) -> dict[str, Any]:
    """Return keyword arguments for a route's decorator.

    `request_examples`: bodies by title; `response_example`: a response body; `stream_example`: an event stream;
    `error_examples`: an error message for each status.
    """
    content: dict[str, object] = {JSON: {"schema": schema(response), "example": response_example}}
    if stream_example:
        content[EVENTS] = {"example": stream_example}
    responses: dict[str, object] = {"200": {"description": "The answer", "content": content}}
    for status, sentence in (error_examples or {}).items():
        shape = {"type": "object", "required": [error_key], "properties": {error_key: {"type": "string"}}}
        responses[str(status)] = {
            "description": "The error, in one sentence",
            "content": {JSON: {"schema": shape, "example": {error_key: sentence}}},
        }
    extra: dict[str, object] = {"responses": responses}
    if request is not None:
        examples = {title: {"value": body} for title, body in (request_examples or {}).items()}
        body = {"required": True, "content": {JSON: {"schema": schema(request), "examples": examples}}}
        extra["requestBody"] = body
    return {"openapi_extra": extra}


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a struct, with all references inlined."""
    (top,), parts = msgspec.json.schema_components([kind], ref_template="{name}")

    def inline(node: Any) -> Any:  # noqa: ANN401
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(parts[node["$ref"]])
        return {key: inline(value) for key, value in node.items()}

    result: dict[str, Any] = inline(top)
    for part in result.get("properties", {}).values():
        # request_parsing.read accepts null for the default.
        if part.get("default") is not None and isinstance(part.get("type"), str):
            part["type"] = [part["type"], "null"]
    return result
