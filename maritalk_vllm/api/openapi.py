"""What OpenAPI says of a route that reads and writes its JSON by itself."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from fastapi import FastAPI

JSON = "application/json"
"""Without a charset: MariTalk clients since 0.1.6 show the message of an error only if the type is exactly this."""

EVENTS = "text/event-stream"


def documented(
    *,
    answer: type[msgspec.Struct],
    answered: object,
    request: type[msgspec.Struct] | None = None,
    asked: dict[str, object] | None = None,
    events: str = "",
    errors: dict[int, str] | None = None,
    error_key: str = "error",
) -> dict[str, Any]:
    """Arguments for a route's decorator.

    `asked`: examples of bodies by their titles; `answered`: an example of the answer; `events`: one of a stream;
    `errors`: an example of the sentence for each status.
    """
    content: dict[str, object] = {JSON: {"schema": schema(answer), "example": answered}}
    if events:
        content[EVENTS] = {"example": events}
    responses: dict[str, object] = {"200": {"description": "The answer", "content": content}}
    for status, sentence in (errors or {}).items():
        shape = {"type": "object", "required": [error_key], "properties": {error_key: {"type": "string"}}}
        responses[str(status)] = {
            "description": "What was wrong, in a sentence",
            "content": {JSON: {"schema": shape, "example": {error_key: sentence}}},
        }
    extra: dict[str, object] = {"responses": responses}
    if request is not None:
        examples = {title: {"value": body} for title, body in (asked or {}).items()}
        body = {"required": True, "content": {JSON: {"schema": schema(request), "examples": examples}}}
        extra["requestBody"] = body
    return {"openapi_extra": extra}


def lead_docs_below(app: "FastAPI") -> None:
    """Have `/docs` look for what it shows beside itself, and nowhere else: vLLM's looks at the root, and for an icon.

    A browser holds it to that: the script is a large one of others.
    """
    if not any(getattr(route, "path", "") == "/static" for route in app.routes):
        return  # vLLM was told to show none
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url="static/swagger-ui-bundle.js",
        swagger_css_url="static/swagger-ui.css",
        swagger_favicon_url="data:,",
        swagger_ui_parameters={"validatorUrl": None},
    )
    inline = re.findall(rb"<script>(.*?)</script>", bytes(page.body), re.DOTALL)
    hashes = (b64encode(sha256(script).digest()).decode() for script in inline)
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    page.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )

    async def docs(request: Request) -> Response:
        return page

    app.router.routes.insert(0, Route("/docs", docs, include_in_schema=False))


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a struct, with what it refers to written in its place."""
    (top,), parts = msgspec.json.schema_components([kind], ref_template="{name}")

    def whole(node: Any) -> Any:  # noqa: ANN401
        if isinstance(node, list):
            return [whole(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return whole(parts[node["$ref"]])
        return {key: whole(value) for key, value in node.items()}

    described: dict[str, Any] = whole(top)
    for part in described.get("properties", {}).values():
        # As api/body reads it, null stands for the default.
        if part.get("default") is not None and isinstance(part.get("type"), str):
            part["type"] = [part["type"], "null"]
    return described
