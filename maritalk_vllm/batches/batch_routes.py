"""The routes of batches. Maritaca's prefix `/api` leads to them too."""

import time

from fastapi import APIRouter, Request, Response

from ..api.base_route import json_response
from ..api.openapi import documented
from ..api.openapi_groups import BATCHES
from ..api.request_parsing import read
from ..engine.request_context import context_of
from ..errors import RequestError
from .batch_records import Batch, BatchStatus
from .batch_schema import WINDOW_SECONDS, BatchList, BatchObject, CreateBatch, batch_list, list_example
from .batch_service import owner_of, service_of
from .data_folder import new_id
from .file_routes import OpenAIRoute
from .input_line import endpoint_of
from .input_validation import ENDPOINTS
from .query import BatchQuery, query_of

PATH = "/v1/batches"

router = APIRouter(route_class=OpenAIRoute, tags=[BATCHES])

_EXAMPLE = {
    "id": "batch_1f0c2b5c9d1e4f7f8a3b2c1d0e9f8a7b",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "errors": None,
    "input_file_id": "file-6f0c2b5c9d1e4f7f8a3b2c1d0e9f8a7b",
    "completion_window": "24h",
    "status": "in_progress",
    "output_file_id": None,
    "error_file_id": None,
    "created_at": 1_782_000_000,
    "in_progress_at": 1_782_000_001,
    "expires_at": 1_782_086_400,
    "finalizing_at": None,
    "completed_at": None,
    "failed_at": None,
    "expired_at": None,
    "cancelling_at": None,
    "cancelled_at": None,
    "request_counts": {"total": 200, "completed": 120, "failed": 1},
    "metadata": {"night": "1"},
}


@router.post(
    PATH,
    **documented(
        request=CreateBatch,
        request_examples={
            "Chats": {
                "input_file_id": _EXAMPLE["input_file_id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            },
            "Texts to complete": {
                "input_file_id": _EXAMPLE["input_file_id"],
                "endpoint": "/generate",
                "completion_window": "24h",
                "metadata": {"night": "1"},
            },
        },
        response=BatchObject,
        response_example=_EXAMPLE,
    ),
)
async def create(request: Request) -> Response:
    """Have the requests in an uploaded file computed, with what interactive requests leave of the engine."""
    service, owner = service_of(request), owner_of(request)
    stores = service.stores
    given = read(await request.body(), CreateBatch)
    endpoint = endpoint_of(given.endpoint)
    if endpoint not in ENDPOINTS:
        raise RequestError(
            f"endpoint: there are no batches for {given.endpoint[:100]!r}.", f"Known: {', '.join(ENDPOINTS)}."
        )
    context = context_of(request.scope)
    now = int(time.time())
    batch = Batch(
        id=new_id("batch_"),
        owner=owner,
        key_name="" if context is None else context.key_name,
        status=BatchStatus.VALIDATING,
        endpoint=endpoint,
        input_file_id=given.input_file_id,
        completion_window=given.completion_window,
        created_at=now,
        expires_at=now + WINDOW_SECONDS,
        output_id=new_id("file-"),
        error_id=new_id("file-"),
        output_seconds=None if given.output_expires_after is None else given.output_expires_after.seconds,
        metadata=given.checked_metadata(),
    )
    await stores.batches.create(batch)
    service.wake()
    return json_response(BatchObject.of(batch))


@router.get(
    PATH,
    **documented(
        response=BatchList,
        response_example=list_example(_EXAMPLE),
    ),
)
async def batches(request: Request) -> Response:
    """List the batches of the API key, the newest first; `after` and `limit` select some."""
    query = query_of(request, BatchQuery)
    return json_response(
        batch_list(await service_of(request).stores.batches.page(owner_of(request), query.limit, query.after))
    )


@router.get(f"{PATH}/{{batch_id}}", **documented(response=BatchObject, response_example=_EXAMPLE))
async def batch(request: Request) -> Response:
    """Describe a batch."""
    stored = await service_of(request).stores.batches.get(owner_of(request), request.path_params["batch_id"])
    return json_response(BatchObject.of(stored))


@router.post(f"{PATH}/{{batch_id}}/cancel", **documented(response=BatchObject, response_example=_EXAMPLE))
async def cancel(request: Request) -> Response:
    """Cancel a batch. The results so far become its output file."""
    service = service_of(request)
    stored = await service.stores.batches.cancel(owner_of(request), request.path_params["batch_id"])
    service.wake()
    return json_response(BatchObject.of(stored))
