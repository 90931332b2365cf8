"""The results of a batch: each line is in the output file or the error file before it counts as done.

The files that clients download are the journals themselves. After a crash, a line that is not whole is cut off, and
what remains says exactly which lines are done.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

_HEAD = re.compile(rb'\{"id":"batch_req_[0-9a-f]+_([0-9]+)",')
_READ_BYTES = 1 << 20


class LineResponse(msgspec.Struct, frozen=True):
    """The response to the request of a line."""

    status_code: int
    request_id: str
    body: msgspec.Raw


class LineFailure(msgspec.Struct, frozen=True):
    """Why a line has no response."""

    code: str
    message: str


class OutputLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the output file or the error file."""

    id: str
    custom_id: str
    response: LineResponse | None = None
    error: LineFailure | None = None


def line_id(batch_id: str, index: int) -> str:
    """The id of the result of a line; `index` is counted from 0."""
    return f"batch_req_{batch_id.removeprefix('batch_')}_{index}"


class Journal:
    """One of the files of a batch."""

    def __init__(self, file: Path) -> None:
        """Open the file, or create it, and cut off what a crash has left of a line. Raises OSError."""
        self.file = file
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = 0
        self.done: list[int] = []
        """The indices of the lines that were in the file when it was opened."""
        for line in self._whole_lines():
            found = _HEAD.match(line)
            if found is None:  # a partial line after a power failure
                break
            self.done.append(int(found[1]))
            self.size += len(line)
        os.ftruncate(self._descriptor, self.size)

    def append(self, line: OutputLine) -> None:
        """Write one line, whole or not at all. Raises OSError, for example if the disk is full."""
        text = msgspec.json.encode(line)
        if b"\n" in text:  # a response was not compact
            text = msgspec.json.encode(msgspec.json.decode(text))
        text += b"\n"
        try:
            if (written := os.write(self._descriptor, text)) != len(text):
                os.write(self._descriptor, text[written:])  # raises the reason, as a rule
                if os.fstat(self._descriptor).st_size != self.size + len(text):
                    raise OSError("the line was not written whole")
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(text)

    def sync(self) -> None:
        """Block until all lines are on the disk. Raises OSError."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _whole_lines(self) -> Iterator[bytes]:
        with self.file.open("rb", buffering=_READ_BYTES) as content:
            for line in content:
                if line.endswith(b"\n"):
                    yield line
