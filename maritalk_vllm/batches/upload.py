"""Multipart uploads, which are written to disk as they arrive: never whole in memory, and on the right disk at once.

Starlette's own parser spools to the temporary folder, which may be in memory, and each file would be copied from there.
"""

import asyncio
import os
from collections.abc import AsyncIterable, Callable
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..api.openai_adapter import normalize_path
from ..errors import BodyTooLarge, RequestError
from .input_limits import MAX_FILE_BYTES

PATH = "/v1/files"
"""The route of uploads."""

MAX_OVERHEAD_BYTES = 64 * 1024
"""Maximum bytes of an upload beside the file: its fields, and the headers of its parts."""

MAX_NAME_CHARACTERS = 255
_WRITE_BYTES = 1 << 20


def is_upload(method: str, path: str) -> bool:
    """Whether a request uploads a file, on any of the prefixes of Maritaca's API."""
    return method == "POST" and normalize_path(path).get("path", path) == PATH


def check_length(request_bytes: int) -> None:
    """Raise BodyTooLarge for a request that is too long for any file, before it is received."""
    if request_bytes > MAX_FILE_BYTES + MAX_OVERHEAD_BYTES:
        raise _too_large()


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"The file is longer than {MAX_FILE_BYTES:,} bytes, the limit of a file.", "Split it into several."
    )


class Upload:
    """A form with one file and some fields. `size`: of the file; `filename`: what the client calls it, None before."""

    def __init__(self, content_type: str, target: Path) -> None:
        """`target`: where the file is written. Raises RequestError if the body is no multipart form."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise RequestError(
                "The body is no multipart form.", "Send the fields purpose and file as multipart/form-data."
            )
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self._overhead = 0
        self._target = target
        self._pending = bytearray()
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._field: str | None = None
        self._content = bytearray()
        callbacks: dict[str, Callable[..., None]] = {
            "on_part_begin": self._on_part_begin,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_end": self._on_end,
        }
        self._is_complete = False
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]

    async def receive(self, chunks: AsyncIterable[bytes]) -> None:
        """Read the form, and write its file to the disk. Raises RequestError, BodyTooLarge and OSError."""
        file = await asyncio.to_thread(self._target.open, "wb")
        try:
            async for chunk in chunks:
                before = self.size
                self._parser.write(chunk)
                self._overhead += len(chunk) - (self.size - before)
                self._check_size()
                if len(self._pending) >= _WRITE_BYTES:
                    await asyncio.to_thread(file.write, bytes(self._pending))
                    self._pending.clear()
            await asyncio.to_thread(file.write, bytes(self._pending))
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
        except FormParserError as error:
            raise RequestError(f"The body is no valid multipart form: {error}.") from error
        finally:
            await asyncio.to_thread(file.close)
        if not self._is_complete:
            raise RequestError("The upload is incomplete: its last boundary is missing.", "Send it again.")
        if self.filename is None:
            raise RequestError("file: the form has no file.", "Send it as a part with a file name.")

    def _check_size(self) -> None:
        if self.size > MAX_FILE_BYTES:
            raise _too_large()
        if self._overhead > MAX_OVERHEAD_BYTES:
            raise BodyTooLarge(
                f"The form has more than {MAX_OVERHEAD_BYTES:,} bytes beside its file.", "Send purpose and file alone."
            )

    def _on_part_begin(self) -> None:
        self._disposition, self._field = b"", None
        self._content.clear()

    def _on_header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode(errors="replace")
        if self._field != "file":
            return
        if self.filename is not None:
            raise RequestError("file: the form has two files.", "Send one at a time.")
        # Browsers send no path; of any other client's, the name is stored as it is, and never used as a path.
        self.filename = options.get(b"filename", b"").decode(errors="replace") or "file"
        if len(self.filename) > MAX_NAME_CHARACTERS:
            raise RequestError(
                f"file: the name has {len(self.filename)} characters, over the limit of {MAX_NAME_CHARACTERS}.",
                "Give it a shorter one.",
            )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self.size += end - start
            self._pending += data[start:end]
        else:
            self._content += data[start:end]

    def _on_part_end(self) -> None:
        if self._field and self._field != "file":
            self.fields[self._field] = self._content.decode(errors="replace")

    def _on_end(self) -> None:
        self._is_complete = True
