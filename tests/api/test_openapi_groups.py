"""The groups of routes in /openapi.json, with their commands and examples."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request

from maritalk_vllm.api import cloud, local
from maritalk_vllm.api.cloud import GROUP as CLOUD
from maritalk_vllm.api.local import GROUP as LOCAL
from maritalk_vllm.api.openapi_groups import (
    ANTHROPIC,
    BATCHES,
    EXAMPLES,
    MARITACA,
    OPENAI,
    PROBES,
    VLLM,
    describe_groups,
)
from maritalk_vllm.batches import batch_routes, file_routes
from maritalk_vllm.server.middleware import probes
from tests.serving import Server

ORDER = [LOCAL, CLOUD, OPENAI, MARITACA, ANTHROPIC, BATCHES, PROBES, VLLM]
DEFAULT_ADDRESS = "http://localhost:9000"


@pytest.fixture
def schema() -> dict[str, Any]:
    """Of an application with routes as vLLM's, ours, and one of a plugin, in another order than that of the groups."""
    app = FastAPI()

    async def answer(request: Request, body: dict[str, str]) -> None:
        """Answer."""

    async def get() -> None:
        """Get."""

    for path in ("/version", "/metrics", "/health", "/v1/models"):
        app.get(path)(get)
    for path in EXAMPLES:
        app.post(path)(answer)
    app.get("/of/a/plugin", tags=["A plugin"])(get)
    app.include_router(cloud.router)
    app.include_router(local.router)
    app.include_router(file_routes.router)
    app.include_router(batch_routes.router)
    describe_groups(app)
    return app.openapi()


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{method} {path}": each for path, item in schema["paths"].items() for method, each in item.items()}


def test_our_groups_come_first_and_vllms_last(schema: dict[str, Any]) -> None:
    assert [tag["name"] for tag in schema["tags"]] == [*ORDER[:6], "A plugin", PROBES, VLLM]


def test_each_of_our_groups_begins_with_a_command(schema: dict[str, Any]) -> None:
    for tag in schema["tags"]:
        assert DEFAULT_ADDRESS in command_of(tag["description"]) or tag["name"] == "A plugin"


def command_of(introduction: str) -> str:
    """The lines of an introduction's code block."""
    return "\n".join(line[4:] for line in introduction.splitlines() if line.startswith("    "))


def test_each_route_is_in_one_group(schema: dict[str, Any]) -> None:
    groups: dict[str, set[str]] = {}
    for route, operation in operations(schema).items():
        (group,) = operation["tags"]
        groups.setdefault(group, set()).add(route)
    assert groups[LOCAL] == {"get /", "post /generate", "post /chat/generate"}
    assert groups[CLOUD] == {"post /api/chat/inference", "get /api/chat/models"}
    assert groups[PROBES] == {f"get {path}" for path in (*probes.PROBES, "/metrics")}
    assert groups[VLLM] == {"get /version", "post /tokenize", "post /detokenize"}
    assert groups[ANTHROPIC] == {"post /v1/messages", "post /v1/messages/count_tokens"}
    assert "get /v1/models" in groups[OPENAI]
    assert {route.split()[1].split("/")[2] for route in groups[BATCHES]} == {"files", "batches"}
    assert groups["A plugin"] == {"get /of/a/plugin"}


def test_openai_routes_are_also_listed_below_api(schema: dict[str, Any]) -> None:
    by_route = operations(schema)
    below = {route for route, operation in by_route.items() if operation["tags"] == [MARITACA]}
    assert below == {route.replace("/v1/", "/api/") for route in by_route if "/v1/" in route}
    identifiers = [operation["operationId"] for operation in by_route.values() if "operationId" in operation]
    assert len(identifiers) == len(set(identifiers))
    assert by_route["post /api/completions"]["requestBody"] == by_route["post /v1/completions"]["requestBody"]


def test_the_document_is_made_once(schema: dict[str, Any]) -> None:
    app = FastAPI()
    app.include_router(local.router)
    describe_groups(app)
    assert app.openapi() is app.openapi()


@pytest.mark.parametrize("group", ORDER)
def test_the_command_of_each_group_works(shared_server: Server, group: str, tmp_path: Path) -> None:
    document = shared_server.ask("/openapi.json").json
    (introduction,) = (tag["description"] for tag in document["tags"] if tag["name"] == group)
    command = command_of(introduction)
    assert DEFAULT_ADDRESS in command
    script = 'curl() { command curl --silent --fail "$@"; }\n' + command.replace(
        DEFAULT_ADDRESS, f"http://127.0.0.1:{shared_server.port}"
    )
    answer = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout[:1]) == (0, "{"), answer
    if "Japan" in command:
        assert "Tokyo" in answer.stdout


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_example_of_each_route_of_vllm_is_accepted(shared_server: Server, path: str) -> None:
    document = shared_server.ask("/openapi.json").json
    example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert example == EXAMPLES[path]
    answer = shared_server.ask(path, example)
    assert answer.status == 200, answer.body


def test_the_models_list_shows_no_path(shared_server: Server) -> None:
    assert b"/" not in shared_server.ask("/v1/models").body
