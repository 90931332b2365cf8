"""The routes of files. Maritaca's prefix `/api` leads to them too."""

import errno
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse

from ..api.base_route import MariTalkRoute, json_response
from ..api.cancellation import ClientDisconnected
from ..api.error_responses import ErrorShape
from ..api.openapi import documented
from ..api.openapi_groups import BATCHES
from ..errors import DiskFull, RequestError
from .batch_records import INPUT_PURPOSES, Purpose, StoredFile
from .batch_schema import ExpiresAfter, FileDeleted, FileList, FileObject, file_list, list_example
from .batch_service import BatchService, owner_of, service_of
from .data_folder import new_id
from .file_store import no_file
from .query import FileQuery, query_of
from .upload import MAX_OVERHEAD_BYTES, PATH, Upload, check_length


class OpenAIRoute(MariTalkRoute):
    """OpenAI's clients read errors from the object `error`."""

    error_shape = ErrorShape.OPENAI


router = APIRouter(route_class=OpenAIRoute, tags=[BATCHES])

_EXAMPLE = {
    "id": "file-6f0c2b5c9d1e4f7f8a3b2c1d0e9f8a7b",
    "object": "file",
    "bytes": 102_400,
    "created_at": 1_782_000_000,
    "expires_at": 1_784_592_000,
    "filename": "batch.jsonl",
    "purpose": "batch",
    "status": "processed",
    "status_details": None,
}


@router.post(PATH, **documented(response=FileObject, response_example=_EXAMPLE))
async def upload(request: Request) -> Response:
    """Upload a file: a multipart form with the fields `purpose`, which is `batch`, and `file`."""
    service, owner = service_of(request), owner_of(request)
    length = request.headers.get("content-length", "0")
    if length.isdecimal():
        check_length(int(length))
        # A client that sends too much learns it before all of it is received.
        await service.stores.files.check_room(owner, int(length) - MAX_OVERHEAD_BYTES, service.key_bytes())
    file_id = new_id("file-")
    target = service.stores.folder.uploads / file_id
    form = Upload(request.headers.get("content-type", ""), target)
    try:
        await form.receive(_chunks(request))
        file = _described(form, file_id, owner, service)
        await service.stores.files.add(file, target, service.key_bytes())
    except (OSError, sqlite3.OperationalError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number not in (errno.ENOSPC, errno.EDQUOT) and "full" not in str(error):
            raise
        raise DiskFull("The server's disk has no room for the file.", "Ask its administrator, or try later.") from error
    finally:
        with suppress(OSError):
            target.unlink(missing_ok=True)
    return json_response(FileObject.of(file))


@router.get(
    PATH,
    **documented(
        response=FileList,
        response_example=list_example(_EXAMPLE),
    ),
)
async def files(request: Request) -> Response:
    """List the files of the API key, the newest first; `after`, `limit`, `order` and `purpose` select some."""
    query = query_of(request, FileQuery)
    page = await service_of(request).stores.files.page(
        owner_of(request),
        limit=query.limit,
        after=query.after,
        ascending=query.order == "asc",
        purpose=query.purpose,
    )
    return json_response(file_list(page))


@router.get(f"{PATH}/{{file_id}}", **documented(response=FileObject, response_example=_EXAMPLE))
async def file(request: Request) -> Response:
    """Describe a file."""
    stored = await service_of(request).stores.files.get(owner_of(request), request.path_params["file_id"])
    return json_response(FileObject.of(stored))


@router.delete(
    f"{PATH}/{{file_id}}",
    **documented(response=FileDeleted, response_example={"id": _EXAMPLE["id"], "object": "file", "deleted": True}),
)
async def delete(request: Request) -> Response:
    """Delete a file."""
    file_id = request.path_params["file_id"]
    await service_of(request).stores.files.delete(owner_of(request), file_id)
    return json_response(FileDeleted(file_id))


@router.get(f"{PATH}/{{file_id}}/content")
async def content(request: Request) -> Response:
    """Download a file."""
    service = service_of(request)
    stored = await service.stores.files.get(owner_of(request), request.path_params["file_id"])
    path = service.stores.folder.content(stored.id)
    if not path.is_file():
        raise no_file(stored.id)
    return FileResponse(path, filename=stored.filename, media_type="application/octet-stream")


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as error:
        raise ClientDisconnected("The client has gone.") from error


def _described(form: Upload, file_id: str, owner: str, service: BatchService) -> StoredFile:
    """The record of an uploaded file. Raises RequestError for its fields."""
    given = form.fields.get("purpose", "")
    if given not in INPUT_PURPOSES:
        raise RequestError(
            f"purpose: {given[:100]!r} is not possible." if given else "purpose: the form has none.",
            "This server keeps files of the purpose batch.",
        )
    created_at = int(time.time())
    seconds = service.retention_seconds()
    expiry = {
        name: form.fields[key] for name in ("anchor", "seconds") if (key := f"expires_after[{name}]") in form.fields
    }
    if expiry:
        try:
            seconds = min(seconds, msgspec.convert(expiry, ExpiresAfter, strict=False).seconds)
        except msgspec.ValidationError as error:
            raise RequestError(f"expires_after: {str(error).replace('`', '')}.") from error
    assert form.filename is not None
    return StoredFile(
        id=file_id,
        owner=owner,
        created_at=created_at,
        expires_at=created_at + seconds,
        filename=form.filename,
        purpose=Purpose(given),
        bytes=form.size,
    )
