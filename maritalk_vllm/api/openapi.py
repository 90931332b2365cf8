"""OpenAPI descriptions of routes that parse and serialize JSON themselves."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .media_types import EVENTS, JSON

if TYPE_CHECKING:
    from fastapi import FastAPI


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


def use_relative_docs_urls(app: "FastAPI") -> None:
    """Make `/docs` load its assets from relative URLs; vLLM's page uses absolute ones, and an external icon.

    A Content-Security-Policy prevents all other requests of the page, which runs a large third-party script.
    """
    if not any(getattr(route, "path", "") == "/static" for route in app.routes):
        return  # the docs are disabled in vLLM's arguments
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url="static/swagger-ui-bundle.js",
        swagger_css_url="static/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},
    )
    inline_scripts = re.findall(rb"<script>(.*?)</script>", bytes(page.body), re.DOTALL)
    hashes = (b64encode(sha256(script).digest()).decode() for script in inline_scripts)
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

    async def docs(request: Request) -> Response:
        return page

    app.router.routes.insert(0, Route("/docs", docs, include_in_schema=False))


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
