"""Our part of /openapi.json, which needs no engine."""

from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI

from maritalk_vllm.api import cloud, local

OURS = {
    ("get", "/"),
    ("post", "/generate"),
    ("post", "/chat/generate"),
    ("post", "/api/chat/inference"),
    ("get", "/api/chat/models"),
}
JSON = "application/json"


def operations() -> dict[tuple[str, str], Any]:
    app = FastAPI()
    app.include_router(local.router)
    app.include_router(cloud.router)
    return {
        (method, path): operation for path, each in app.openapi()["paths"].items() for method, operation in each.items()
    }


def test_all_our_routes_are_documented() -> None:
    assert operations().keys() == OURS


@pytest.mark.parametrize("route", sorted(OURS))
def test_examples_match_their_schemas(route: tuple[str, str]) -> None:
    operation = operations()[route]
    assert operation["summary"] and operation["description"] and operation["tags"]
    answer = operation["responses"]["200"]["content"][JSON]
    jsonschema.validate(answer["example"], answer["schema"])
    if route[0] == "get":
        return
    body = operation["requestBody"]["content"][JSON]
    assert len(body["examples"]) > 1
    for example in body["examples"].values():
        jsonschema.validate(example["value"], body["schema"])
    assert operation["responses"]["200"]["content"]["text/event-stream"]["example"].count("\n\n") > 1
    for status in ("400", "503"):
        error = operation["responses"][status]["content"][JSON]
        jsonschema.validate(error["example"], error["schema"])


def test_fields_have_limits_and_descriptions() -> None:
    body = operations()["post", "/generate"]["requestBody"]["content"][JSON]["schema"]
    assert body["required"] == ["prompt"]
    assert body["properties"]["top_p"]["exclusiveMinimum"] == 0
    for name, operation in body["properties"].items():
        if name != "prompt":
            assert "description" in str(operation), name
