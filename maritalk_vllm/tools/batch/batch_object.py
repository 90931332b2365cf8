"""A batch as a server describes it, in the form of OpenAI's public API."""

from dataclasses import dataclass
from typing import Any, Self

_FINAL = frozenset({"completed", "failed", "expired", "cancelled", "succeeded"})
"""Statuses that do not change any more; `succeeded` is what Maritaca's reference calls `completed`."""

_SUCCEEDED = frozenset({"completed", "succeeded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """Why a line of the input file was rejected; `line` is None if the error concerns the whole file."""

    line: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch. Times are seconds since 1970, None for what has not happened; `content` is the whole JSON object.

    `total` counts the requests, `completed` and `failed` those that are done: 0 while the file is being validated.
    """

    id: str
    status: str
    endpoint: str
    total: int
    completed: int
    failed: int
    created_at: int
    expires_at: int | None
    output_file_id: str | None
    error_file_id: str | None
    errors: tuple[LineError, ...]
    content: dict[str, Any]

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Raises KeyError, TypeError or AttributeError for an object of another form."""
        counts = content.get("request_counts") or {}
        errors = (content.get("errors") or {}).get("data") or ()
        return cls(
            id=content["id"],
            status=content["status"],
            endpoint=content["endpoint"],
            total=counts.get("total", 0),
            completed=counts.get("completed", 0),
            failed=counts.get("failed", 0),
            created_at=content["created_at"],
            expires_at=content.get("expires_at"),
            output_file_id=content.get("output_file_id"),
            error_file_id=content.get("error_file_id"),
            errors=tuple(LineError(line=each.get("line"), message=each.get("message") or "") for each in errors),
            content=content,
        )

    @property
    def done(self) -> int:
        """Requests that have a result, which may be an error."""
        return self.completed + self.failed

    @property
    def is_final(self) -> bool:
        """Whether the batch has ended."""
        return self.status in _FINAL

    @property
    def has_succeeded(self) -> bool:
        """Whether the batch has ended and every request in it was answered."""
        return self.status in _SUCCEEDED and not self.failed
