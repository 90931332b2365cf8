"""The description of the routes in /openapi.json, and their answers on a server without a data folder."""

from typing import Any

import jsonschema
import msgspec
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from maritalk_vllm.batches.batch_schema import BatchObject, CreateBatch
from maritalk_vllm.batches.batch_service import BatchService, attach
from maritalk_vllm.errors import RequestError
from tests.batches.samples import stored_batch

JSON = "application/json"
ROUTES = {
    ("post", "/v1/files"),
    ("get", "/v1/files"),
    ("get", "/v1/files/{file_id}"),
    ("delete", "/v1/files/{file_id}"),
    ("get", "/v1/files/{file_id}/content"),
    ("post", "/v1/batches"),
    ("get", "/v1/batches"),
    ("get", "/v1/batches/{batch_id}"),
    ("post", "/v1/batches/{batch_id}/cancel"),
}


def application() -> FastAPI:
    app = FastAPI()
    attach(app, BatchService(None, lambda: 1, lambda: None))
    return app


def test_examples_match_their_schemas() -> None:
    paths: dict[str, Any] = application().openapi()["paths"]
    assert {(method, path) for path, each in paths.items() for method in each} == ROUTES
    for method, path in sorted(ROUTES - {("get", "/v1/files/{file_id}/content")}):
        operation = paths[path][method]
        assert operation["summary"] and operation["description"] and operation["tags"]
        answer = operation["responses"]["200"]["content"][JSON]
        jsonschema.validate(answer["example"], answer["schema"])
    body = paths["/v1/batches"]["post"]["requestBody"]["content"][JSON]
    for example in body["examples"].values():
        jsonschema.validate(example["value"], body["schema"])


@pytest.mark.parametrize(("method", "path"), sorted(ROUTES))
def test_a_server_without_a_folder_reports_it(method: str, path: str) -> None:
    answer = TestClient(application()).request(method, path)
    assert answer.status_code == 501
    assert answer.json()["error"]["message"] == (
        "This server keeps no files and batches: it has no folder for them. Start it with --data-dir FOLDER."
    )


def test_an_object_has_the_fields_of_openais_reference() -> None:
    fields = msgspec.to_builtins(BatchObject.of(stored_batch()))
    assert fields["object"] == "batch" and fields["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert {name for name in fields if name.endswith("_at")} == {
        *("created_at", "in_progress_at", "expires_at", "finalizing_at", "completed_at"),
        *("failed_at", "expired_at", "cancelling_at", "cancelled_at"),
    }
    assert not fields.keys() & {"owner", "key_name", "output_id", "error_id"}


@pytest.mark.parametrize("metadata", [{str(each): "" for each in range(17)}, {"k" * 65: ""}, {"k": "v" * 513}])
def test_metadata_has_limits(metadata: dict[str, str]) -> None:
    with pytest.raises(RequestError, match="metadata: at most 16 pairs"):
        CreateBatch(input_file_id="f", endpoint="/generate", metadata=metadata).checked_metadata()
