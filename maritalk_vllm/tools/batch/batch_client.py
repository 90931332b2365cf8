"""HTTP client for the files and batches of any server that has OpenAI's API for them."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import quote

import httpx

from ...errors import MariTalkError, RequestError, TooManyRequests, Unauthorized, Unavailable
from ...i18n.message import msg
from ...i18n.rendering import say
from ..server_address import ServerAddress
from ..server_connection import connect, mapped_errors
from ..server_errors import localized_error
from .batch_file import BatchFile
from .batch_object import Batch

_PREFIX = "/v1"
_WINDOW = "24h"
"""The only completion window of OpenAI's API."""

OnBytes = Callable[[int, int | None], None]
"""Gets the bytes that are transferred so far, and their total if it is known."""


class BatchClient:
    """Client of one server; a context manager. Raises Unauthorized and RequestError for what a server rejects.

    Unavailable is raised for an error of the server (5xx), a rate limit (429), or no response.
    """

    def __init__(self, address: ServerAddress) -> None:
        """The address may end with `/v1`. Raises UsageError for an address or certificate that cannot be used."""
        self._address = address
        self._client = connect(address)
        self._prefix = "" if self._client.base_url.path.rstrip("/").endswith(_PREFIX) else _PREFIX

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def upload(self, file: BatchFile, on_bytes: OnBytes) -> str:
        """Upload a file piece by piece; returns its id. Raises OSError if it cannot be read."""
        with _CountedFile(file.path, lambda done: on_bytes(min(done, file.size_bytes), file.size_bytes)) as opened:
            parts = {"file": (file.path.name, opened, "application/jsonl")}
            return str(self._json("POST", "files", data={"purpose": "batch"}, files=parts)["id"])

    def create(self, file_id: str, endpoint: str) -> Batch:
        """Create a batch from an uploaded file."""
        body = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": _WINDOW}
        return self._batch("POST", "batches", json=body)

    def batches(self, limit: int, after: str | None = None) -> tuple[list[Batch], bool]:
        """Return at most `limit` batches, the newest first, and whether there are more."""
        parameters = {"limit": limit, **({"after": after} if after else {})}
        content = self._json("GET", "batches", params=parameters)
        with self._mapped_errors():
            return [Batch.from_json(each) for each in content["data"]], bool(content.get("has_more"))

    def retrieve(self, batch_id: str) -> Batch:
        """Return a batch."""
        return self._batch("GET", f"batches/{_segment(batch_id)}")

    def cancel(self, batch_id: str) -> Batch:
        """Cancel a batch, which keeps what is done."""
        return self._batch("POST", f"batches/{_segment(batch_id)}/cancel")

    def download(self, file_id: str, out: BinaryIO, on_bytes: OnBytes) -> None:
        """Write a file's content to `out` piece by piece."""
        path = self._path(f"files/{_segment(file_id)}/content")
        with self._mapped_errors(), self._client.stream("GET", path) as response:
            if not response.is_success:
                response.read()
                raise _error_of(response)
            length = response.headers.get("content-length")
            total = int(length) if length else None
            for piece in response.iter_bytes():
                out.write(piece)
                on_bytes(response.num_bytes_downloaded, total)

    def _batch(self, method: str, path: str, **body: Any) -> Batch:  # noqa: ANN401
        content = self._json(method, path, **body)
        with self._mapped_errors():
            return Batch.from_json(content)

    def _json(self, method: str, path: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401
        with self._mapped_errors():
            response = self._client.request(method, self._path(path), **body)
            if not response.is_success:
                raise _error_of(response)
            content = response.json()
            if not isinstance(content, dict):
                raise TypeError
            return content

    def _path(self, path: str) -> str:
        return f"{self._prefix}/{path}"

    def _mapped_errors(self) -> contextlib.AbstractContextManager[None]:
        return mapped_errors(self._address, say("Try again."))


class _CountedFile(io.FileIO):
    """A file that reports its position after each read."""

    def __init__(self, path: Path, on_read: Callable[[int], None]) -> None:
        super().__init__(path)
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(-1 if size is None else size) or b""
        self._on_read(self.tell())
        return piece


def _segment(name: str) -> str:
    """An id as one segment of a path."""
    return quote(name, safe="")


def _error_of(response: httpx.Response) -> MariTalkError:
    """The error for a failed response, with the server's own message."""
    sentence = ""
    with contextlib.suppress(ValueError, AttributeError, TypeError):  # no JSON, or no object
        error = response.json().get("error")
        sentence = localized_error(str((error.get("message") if isinstance(error, dict) else error) or ""))
    status = f"{response.status_code} {response.reason_phrase}".strip()
    message = sentence or msg("The server answers {status}.", status=status)
    if response.status_code == Unauthorized.http_status:
        return Unauthorized(message, "Give it with --api-key or MARITALK_API_KEY.")
    if response.is_server_error or response.status_code == TooManyRequests.http_status:
        return Unavailable(message)
    return RequestError(message)
