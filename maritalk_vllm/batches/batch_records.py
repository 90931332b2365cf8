"""Stored records of files and batches. Times are whole seconds since 1970, as in OpenAI's API."""

from enum import StrEnum

import msgspec


class Purpose(StrEnum):
    """Purpose of a file. OpenAI's documents name `batch` for input, Maritaca's reference `batch_input`."""

    BATCH = "batch"
    BATCH_INPUT = "batch_input"
    BATCH_OUTPUT = "batch_output"


INPUT_PURPOSES = (Purpose.BATCH, Purpose.BATCH_INPUT)
"""The purposes that an uploaded file may have."""


class BatchStatus(StrEnum):
    """The states of a batch, as in OpenAI's API."""

    VALIDATING = "validating"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


UNFINISHED = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING, BatchStatus.CANCELLING)
"""The states that a batch leaves by itself."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file. `owner`: the digest of its API key, empty without keys. `filename`: what the client called it.

    Its content is `id` in the folder of files: no path contains text from a client.
    """

    id: str
    owner: str
    created_at: int
    expires_at: int
    filename: str
    purpose: Purpose
    bytes: int


class LineError(msgspec.Struct, frozen=True, kw_only=True):
    """Why an input file was rejected. `line`: counted from 1, None for the whole file; `param`: the field."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch. `owner` as of a file; `key_name`: the key's name in metrics.

    `output_id` and `error_id`: the files that its lines are written to, which clients see when it has finished;
    `output_seconds`: how long they are kept, None for as long as the server keeps files.
    """

    id: str
    owner: str
    key_name: str
    status: BatchStatus
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    output_id: str
    error_id: str
    output_seconds: int | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    errors: tuple[LineError, ...] = ()
    metadata: dict[str, str] = {}
