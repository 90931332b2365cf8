"""Counts the bytes and fields that a connection carries beside the bodies of its requests, while it is parsed."""

from ..errors import HeadTooLarge
from . import client_limits


class Overhead:
    """Limits request lines, headers, chunk sizes and extensions, and trailers, which could otherwise be endless."""

    def __init__(self) -> None:
        self.fields = 0
        self._head = 0
        self._excess = 0
        self._body = 0
        self._is_complete = False

    @property
    def size(self) -> int:
        """Overhead of the incomplete request, in bytes."""
        return max(self._head, self._excess)

    def begin_step(self) -> None:
        """Start counting the next piece of data."""
        self._body, self._is_complete = 0, False

    def begin_request(self) -> None:
        """Start counting a new request, at its first byte."""
        self.fields = self._head = 0

    def add_field(self, name: bytes, value: bytes) -> bool:
        """Count a header or trailer field. Return whether it is within the limit, and may be stored."""
        self.fields += 1
        self._head += len(name) + len(value) + 4
        return self.fields <= client_limits.HEAD_FIELDS

    def add_first_line(self, method: bytes, target: bytes) -> None:
        """Count the request line, which is known once the head is complete."""
        self._head += len(method) + len(target) + len("  HTTP/1.1\r\n\r\n")

    def add_body(self, size: int) -> None:
        """Count a piece of a body, which allows for some bytes of overhead."""
        self._body += size

    def end_request(self) -> None:
        """Record that the request is complete."""
        self._is_complete, self._head = True, 0

    def end_step(self, size: int) -> None:
        """Count the overhead of a piece of `size` bytes: every byte outside the body."""
        if self._is_complete:
            self._excess = 0
        else:
            self._excess = max(0, self._excess + size - (1 + client_limits.OVERHEAD_PER_BYTE) * self._body)

    @property
    def error(self) -> HeadTooLarge | None:
        """The error for the limit that is exceeded; None if none is."""
        if self.fields > client_limits.HEAD_FIELDS:
            excess, hint = f"{client_limits.HEAD_FIELDS} header fields", "Send fewer."
        elif self._head > client_limits.HEAD_BYTES or self._excess > client_limits.HEAD_BYTES:
            excess = f"{client_limits.HEAD_BYTES // 1024} KiB of headers and other bytes beside its body"
            hint = "Send shorter headers."
        else:
            return None
        return HeadTooLarge(f"The request has more than {excess}, this server's limit.", hint)
