"""The groups of routes in `/openapi.json`: the MariTalk APIs first, vLLM's operational routes last."""

from typing import TYPE_CHECKING, Any

from .cloud import GROUP as CLOUD
from .local import GROUP as LOCAL
from .media_types import JSON
from .openai_dialect import BATCH, CHAT, COMPLETIONS, MESSAGES, RESPONSES

if TYPE_CHECKING:
    from fastapi import FastAPI

OPENAI = "OpenAI-compatible"
MARITACA = "OpenAI-compatible, below /api"
ANTHROPIC = "Anthropic messages"
BATCHES = "Files and batches"
PROBES = "Probes and metrics"
VLLM = "vLLM"

_ABOUT = """
Each group begins with a command, which uses the default address of a server on your own machine. Open a route and press
*Try it out* to send a request from this page. The [chat page](chat) uses the same routes.
"""

_INTRODUCTIONS = {
    LOCAL: """
The API of MariTalk Local, in which programs written for it run unchanged. Requests wait while the model loads.

    curl http://localhost:9000/chat/generate -d '{
      "messages": [{"role": "user", "content": "What is the capital of Japan?"}],
      "max_tokens": 12, "do_sample": false}'
""",
    CLOUD: """
The cloud API that MariTalk's clients used until 2024.

    curl http://localhost:9000/api/chat/inference -d '{
      "messages": "What is the capital of Japan?", "max_tokens": 12, "do_sample": false}'
""",
    OPENAI: """
OpenAI's API, on vLLM's own routes, as Maritaca documents it. `model` may be any MariTalk or Sabiá name.

    curl http://localhost:9000/v1/chat/completions -H 'Content-Type: application/json' -d '{
      "model": "sabia-3", "messages": [{"role": "user", "content": "What is the capital of Japan?"}],
      "max_tokens": 12, "temperature": 0}'
""",
    MARITACA: """
The same routes at the addresses of Maritaca's examples: `/api/...` and `/api/v1/...` mean `/v1/...`.

    curl http://localhost:9000/api/models
""",
    ANTHROPIC: """
Anthropic's messages API, on vLLM's own routes.

    curl http://localhost:9000/v1/messages -H 'Content-Type: application/json' -d '{
      "model": "sabia-3", "messages": [{"role": "user", "content": "What is the capital of Japan?"}],
      "max_tokens": 12, "temperature": 0}'
""",
    BATCHES: """
OpenAI's Batch API: a file of requests, computed with idle capacity. `output_file_id` of an ended batch names its
results, at `/v1/files/{file_id}/content`.

    echo '{"custom_id": "1", "method": "POST", "url": "/generate", "body": {"prompt": "1 2", "max_tokens": 8}}' \\
      > batch.jsonl
    FILE=$(curl http://localhost:9000/v1/files -F purpose=batch -F file=@batch.jsonl | grep -o 'file-[0-9a-f]*')
    BATCH=$(curl http://localhost:9000/v1/batches -H 'Content-Type: application/json' -d '{
      "input_file_id": "'$FILE'", "endpoint": "/generate", "completion_window": "24h"}' | grep -o 'batch_[0-9a-f]*')
    curl http://localhost:9000/v1/batches/$BATCH
""",
    PROBES: """
For load balancers, orchestrators and Prometheus. The probes need no API key, and answer while the model loads.

    curl http://localhost:9000/readyz
""",
    VLLM: """
Operational routes of vLLM: the tokens of a text, the text of tokens, and the installed version.

    curl http://localhost:9000/version
""",
}

_QUESTION = {"messages": [{"role": "user", "content": "What is the capital of Japan?"}], "max_tokens": 12}

EXAMPLES: dict[str, dict[str, object]] = {
    CHAT: {"model": "sabia-3", **_QUESTION},
    BATCH: {"model": "sabia-3", "messages": [_QUESTION["messages"]] * 2, "max_tokens": 12},
    COMPLETIONS: {"model": "sabia-3", "prompt": "The capital of Japan is", "max_tokens": 12},
    RESPONSES: {"model": "sabia-3", "input": "What is the capital of Japan?", "max_output_tokens": 12},
    MESSAGES: {"model": "sabia-3", **_QUESTION},
    f"{MESSAGES}/count_tokens": {"model": "sabia-3", "messages": _QUESTION["messages"]},
    "/tokenize": {"model": "sabia-3", "prompt": "The capital of Japan is Tokyo."},
    "/detokenize": {"model": "sabia-3", "tokens": [33, 34, 35]},
}
"""A short body for each of vLLM's routes, in place of one that Swagger UI would make from all fields."""

_READY = {"status": "ready", "phase": "ready", "seconds": 12.3}
_LOADING = {"status": "loading", "phase": "Loading weights", "seconds": 3.1, "progress": 0.4}


def _probe(summary: str, description: str, good: object, bad: object) -> dict[str, Any]:
    """The path item of a probe, with an example of either response."""
    bodies = {"200": ("Yes", good), "503": ("No", bad)}
    responses = {
        status: {"description": title, "content": {JSON: {"example": body}}} for status, (title, body) in bodies.items()
    }
    return {"get": {"summary": summary, "description": description, "tags": [PROBES], "responses": responses}}


_PROBE_PATHS = {
    "/livez": _probe(
        "Live",
        "Whether the server works, also while the model loads. After a failed start it does not.",
        {"status": "ready"},
        {"status": "failed"},
    ),
    "/readyz": _probe(
        "Ready", "Whether the model is loaded; `phase` and `progress` are those of the start.", _READY, _LOADING
    ),
    "/health": _probe("Health", "The same as `/readyz`, at the address that routers for vLLM ask.", _READY, _LOADING),
}
"""The probes, which middleware answers before any route."""


def describe_groups(app: "FastAPI") -> None:
    """Make `/openapi.json` list all routes by group, with an introduction to each."""
    plain = app.openapi

    def grouped() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = with_groups(plain())
        return app.openapi_schema

    app.openapi = grouped  # type: ignore[method-assign]


def with_groups(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document with its routes in groups, the probes, and the routes below `/api/`."""
    paths = {path: _in_group(path, item) for path, item in schema["paths"].items()} | _PROBE_PATHS
    paths |= {f"/api/{path[4:]}": _below_api(item) for path, item in paths.items() if path.startswith("/v1/")}
    used = {tag for item in paths.values() for operation in item.values() for tag in operation["tags"]}
    first = [name for name in _INTRODUCTIONS if name not in (PROBES, VLLM)]
    order = [*first, *sorted(used - _INTRODUCTIONS.keys()), PROBES, VLLM]
    tags = [{"name": name, "description": _INTRODUCTIONS.get(name, "").strip()} for name in order if name in used]
    info = {**schema["info"], "description": _ABOUT.strip()}
    return {**schema, "info": info, "tags": tags, "paths": paths}


def _in_group(path: str, item: dict[str, Any]) -> dict[str, Any]:
    """A path item whose operations have a group, and an example if it is vLLM's."""
    operations = {method: {"tags": [_group(path)], **operation} for method, operation in item.items()}
    if example := EXAMPLES.get(path):
        body = operations["post"]["requestBody"]
        content = {JSON: {**body["content"][JSON], "example": example}}
        operations["post"] = {**operations["post"], "requestBody": {**body, "content": content}}
    return operations


def _group(path: str) -> str:
    """The group of a route that names none."""
    if path.startswith(MESSAGES):
        return ANTHROPIC
    if path.startswith("/v1/"):
        return OPENAI
    return PROBES if path == "/metrics" else VLLM


def _below_api(item: dict[str, Any]) -> dict[str, Any]:
    """The path item of a route below `/v1/` for the path below `/api/` that Maritaca's examples use."""
    return {
        method: {**operation, "tags": [MARITACA], "operationId": f"{operation['operationId']}_below_api"}
        for method, operation in item.items()
    }
