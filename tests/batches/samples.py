"""Stored files and batches, and the text of input files, for tests."""

import json
import time
from collections.abc import Iterable

import msgspec

from maritalk_vllm.batches.batch_records import Batch, BatchStatus, Purpose, StoredFile
from maritalk_vllm.batches.journal import LineResponse, OutputLine, line_id

ANA, RUI = "a" * 64, "b" * 64
"""Digests of two API keys."""


def stored_file(
    file_id: str = "file-1", owner: str = ANA, *, purpose: str = "batch", seconds: int = 3600
) -> StoredFile:
    now = int(time.time())
    return StoredFile(
        id=file_id,
        owner=owner,
        created_at=now,
        expires_at=now + seconds,
        filename="lines.jsonl",
        purpose=Purpose(purpose),
        bytes=3,
    )


def stored_batch(batch_id: str = "batch_1", owner: str = ANA, file_id: str = "file-1", *, seconds: int = 3600) -> Batch:
    now = int(time.time())
    return Batch(
        id=batch_id,
        owner=owner,
        key_name="ana",
        status=BatchStatus.VALIDATING,
        endpoint="/generate",
        input_file_id=file_id,
        completion_window="24h",
        created_at=now,
        expires_at=now + seconds,
        output_id=f"file-out-{batch_id}",
        error_id=f"file-err-{batch_id}",
        metadata={"night": "1"},
    )


def line(custom_id: str, url: str = "/generate", **body: object) -> dict[str, object]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"prompt": "1 2 3", "max_tokens": 2} | body}


def jsonl(lines: Iterable[object]) -> bytes:
    return "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines).encode()


def result(index: int, body: bytes = b'{"output":"a"}') -> OutputLine:
    """The result of a line of a batch with the hexadecimal digits."""
    response = LineResponse(200, "r", msgspec.Raw(body))
    return OutputLine(id=line_id("batch_0123456789abcdef", index), custom_id=f"id-{index}", response=response)
