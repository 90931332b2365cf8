"""A server of one file, with Range as in RFC 9110, that a test can make drop, stall, lie or change the file."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.answering import Request, answering

CHUNK = 16 * 1024


@dataclass
class File:
    """The served file, and how it is served. `sent` counts all bytes sent; `starts` has the offset of each response."""

    data: bytes
    tag: bool = True
    ranges: bool = True
    length: bool = True
    pause: float = 0.0
    """Seconds between two chunks."""
    before: Callable[["File", Request, int], bool] | None = None
    """Called for each request with the requested offset; returns True if it has sent the response itself."""
    stop_after: Callable[[int], int | None] = lambda start: None
    """Number of bytes of a response from `start` on after which the connection is closed."""
    url: str = ""
    starts: list[int] = field(default_factory=list)
    sent: int = 0

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def answer(self, request: Request) -> None:
        requested_range = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        start = int(requested_range[1]) if requested_range and self.ranges else 0
        self.starts.append(start)
        if self.before is not None and self.before(self, request, start):
            return
        tag = f'"{self.sha256}"' if self.tag else None
        if request.headers.get("if-range") not in (None, tag):
            start = self.starts[-1] = 0
        size = len(self.data)
        headers = {"etag": tag, "content_length": size - start if self.length else None, "connection": "close"}
        if start >= size > 0:
            request.reply(416, content_range=f"bytes */{size}")
            return
        if start:
            request.begin(206, **headers, content_range=f"bytes {start}-{size - 1}/{size}")
        else:
            request.begin(200, **headers)
        request.close_connection = True
        end = start + stop if (stop := self.stop_after(start)) is not None else size
        for at in range(start, min(end, size), CHUNK):
            request.wfile.write(self.data[at : min(at + CHUNK, end)])
            self.sent += min(at + CHUNK, end, size) - at
            if self.pause:
                time.sleep(self.pause)


@contextmanager
def serving(file: File) -> Iterator[File]:
    with answering(file.answer) as server:
        file.url = server.url + "/archive"
        yield file
