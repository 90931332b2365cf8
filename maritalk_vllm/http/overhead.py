"""What a connection carries beside the bodies of its requests, counted as it is parsed."""

from ..errors import HeadTooLarge
from . import client_limits


class Overhead:
    """Request lines, headers, sizes and extensions of chunks, trailers: none of them may be without an end."""

    def __init__(self) -> None:
        self.fields = 0
        self._head = 0
        self._excess = 0
        self._body = 0
        self._is_whole = False

    @property
    def size(self) -> int:
        """How much the request has that is not whole yet."""
        return max(self._head, self._excess)

    def begin_step(self) -> None:
        """More is parsed."""
        self._body, self._is_whole = 0, False

    def begin_request(self) -> None:
        """Its first byte has come."""
        self.fields = self._head = 0

    def add_field(self, name: bytes, value: bytes) -> bool:
        """A header, or a field of a trailer. Whether it is one that may be kept."""
        self.fields += 1
        self._head += len(name) + len(value) + 4
        return self.fields <= client_limits.HEAD_FIELDS

    def add_first_line(self, method: bytes, target: bytes) -> None:
        """The request line, known when the head is whole."""
        self._head += len(method) + len(target) + len("  HTTP/1.1\r\n\r\n")

    def add_body(self, size: int) -> None:
        """A piece of a body, which pays for some bytes beside it."""
        self._body += size

    def end_request(self) -> None:
        """It is whole."""
        self._is_whole, self._head = True, 0

    def end_step(self, size: int) -> None:
        """So many bytes were parsed: all that is not body counts."""
        if self._is_whole:
            self._excess = 0
        else:
            self._excess = max(0, self._excess + size - (1 + client_limits.OVERHEAD_PER_BYTE) * self._body)

    @property
    def error(self) -> HeadTooLarge | None:
        """What there is too much of."""
        if self.fields > client_limits.HEAD_FIELDS:
            excess, hint = f"{client_limits.HEAD_FIELDS} header fields", "Send fewer."
        elif self._head > client_limits.HEAD_BYTES or self._excess > client_limits.HEAD_BYTES:
            excess = f"{client_limits.HEAD_BYTES // 1024} KiB of headers and other bytes beside its body"
            hint = "Send shorter headers."
        else:
            return None
        return HeadTooLarge(f"The request has more than {excess}, this server's limit.", hint)
