"""`/docs`: Swagger UI, which vLLM's package contains, with files from this server alone."""

import asyncio
import re
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .media_types import JSON
from .openapi_groups import describe_groups

if TYPE_CHECKING:
    from fastapi import FastAPI

_PARAMETERS = {
    "validatorUrl": None,
    # The list of all schemas, of which vLLM has hundreds. Each operation shows its own.
    "defaultModelsExpandDepth": -1,
    "displayRequestDuration": True,
}


def serve_docs(app: "FastAPI") -> None:
    """Group the routes in `/openapi.json`, and serve `/docs` with relative URLs; vLLM's page has an external icon.

    A Content-Security-Policy prevents all other requests of the page, which runs a large third-party script.
    """
    if not any(getattr(route, "path", "") == "/static" for route in app.routes):
        return  # the docs are disabled in vLLM's arguments
    describe_groups(app)
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=app.title,
        swagger_js_url="static/swagger-ui-bundle.js",
        swagger_css_url="static/swagger-ui.css",
        swagger_favicon_url="chat/icon.svg",
        swagger_ui_parameters=_PARAMETERS,
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
    _serve_schema(app)


def _serve_schema(app: "FastAPI") -> None:
    """Serve `/openapi.json`, made in a thread at its first request: vLLM's takes a second or more of processor time."""
    making = asyncio.Lock()

    async def schema(request: Request) -> Response:
        async with making:
            document = await asyncio.to_thread(app.openapi)
        root = request.scope.get("root_path", "").rstrip("/")
        servers = {"servers": [{"url": root}]} if root else {}
        return Response(msgspec.json.encode({**document, **servers}), media_type=JSON)

    app.router.routes.insert(0, Route("/openapi.json", schema, include_in_schema=False))
