"""Requests and responses of files and batches, as OpenAI's API reference has them."""

from typing import Annotated, Any, Literal, Self

import msgspec

from ..errors import RequestError
from .batch_records import Batch, LineError, StoredFile
from .page import Page

WINDOW_SECONDS = 24 * 3600
"""The completion window of a batch, `24h`: OpenAI's API has no other."""

MIN_EXPIRY_SECONDS = 3600
MAX_EXPIRY_SECONDS = 30 * 24 * 3600
_MAX_PAIRS, _MAX_KEY, _MAX_VALUE = 16, 64, 512


class ExpiresAfter(msgspec.Struct):
    """When files expire, in seconds after they were created."""

    seconds: Annotated[int, msgspec.Meta(ge=MIN_EXPIRY_SECONDS, le=MAX_EXPIRY_SECONDS)]
    anchor: Literal["created_at"] = "created_at"


class CreateBatch(msgspec.Struct, kw_only=True):
    """A new batch."""

    input_file_id: Annotated[
        str, msgspec.Meta(description="An uploaded file whose purpose is `batch`: one request a line.")
    ]
    endpoint: Annotated[
        str, msgspec.Meta(description="The route that every line is for, such as /v1/chat/completions.")
    ]
    completion_window: Annotated[
        Literal["24h"], msgspec.Meta(description="Lines that have no answer by then get an error.")
    ] = "24h"
    metadata: Annotated[dict[str, str], msgspec.Meta(description="Texts of the client's own.")] | None = None
    output_expires_after: ExpiresAfter | None = None

    def checked_metadata(self) -> dict[str, str]:
        """The metadata. Raises RequestError if it is larger than OpenAI's API permits."""
        metadata = self.metadata or {}
        if (
            len(metadata) > _MAX_PAIRS
            or any(len(key) > _MAX_KEY for key in metadata)
            or any(len(value) > _MAX_VALUE for value in metadata.values())
        ):
            raise RequestError(
                f"metadata: at most {_MAX_PAIRS} pairs of {_MAX_KEY} and {_MAX_VALUE} characters are possible.",
                "Shorten it.",
            )
        return metadata


class FileObject(msgspec.Struct, kw_only=True):
    """A file."""

    id: str
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"
    status_details: None = None

    @classmethod
    def of(cls, file: StoredFile) -> Self:
        """The object of a stored file."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=file.created_at,
            expires_at=file.expires_at,
            filename=file.filename,
            purpose=file.purpose.value,
        )


class FileDeleted(msgspec.Struct):
    """The confirmation that a file was deleted."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class RequestCounts(msgspec.Struct):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchErrors(msgspec.Struct):
    """Why an input file was rejected."""

    data: tuple[LineError, ...]
    object: Literal["list"] = "list"


class BatchObject(msgspec.Struct, kw_only=True):
    """A batch. Times are seconds since 1970, null before the batch gets into the state."""

    id: str
    endpoint: str
    errors: BatchErrors | None = None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts
    metadata: dict[str, str] | None = None
    object: Literal["batch"] = "batch"

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """The object of a stored batch."""
        same = {name: getattr(batch, name) for name in cls.__struct_fields__ if name in _SAME}
        return cls(
            **same,
            status=batch.status.value,
            errors=BatchErrors(batch.errors) if batch.errors else None,
            request_counts=RequestCounts(batch.total, batch.completed, batch.failed),
            metadata=batch.metadata or None,
        )


_SAME = {*Batch.__struct_fields__} - {"status", "errors", "metadata"}
"""Fields that are the same in the record and the object."""


class FileList(msgspec.Struct, kw_only=True):
    """A page of files. `first_id` and `last_id`: null for an empty one."""

    data: list[FileObject]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool
    object: Literal["list"] = "list"


class BatchList(msgspec.Struct, kw_only=True):
    """A page of batches. `first_id` and `last_id`: null for an empty one."""

    data: list[BatchObject]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool
    object: Literal["list"] = "list"


def file_list(page: Page[StoredFile]) -> FileList:
    """The response with a page of files."""
    return FileList(data=[FileObject.of(each) for each in page.items], **_bounds(page))


def batch_list(page: Page[Batch]) -> BatchList:
    """The response with a page of batches."""
    return BatchList(data=[BatchObject.of(each) for each in page.items], **_bounds(page))


def _bounds(page: Page[Any]) -> dict[str, Any]:
    ids = [each.id for each in page.items]
    return {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None, "has_more": page.has_more}


def list_example(item: dict[str, Any]) -> dict[str, Any]:
    """The example of a list, in the API's description, with the example of an item."""
    return {"object": "list", "data": [item], "first_id": item["id"], "last_id": item["id"], "has_more": False}
