"""How a request's body may be encoded: compressed, and with a byte order mark."""

import zlib

from starlette.datastructures import Headers, MutableHeaders

from ...errors import RequestError, UnknownEncoding

TAKEN = "gzip, deflate"
"""What `Accept-Encoding` says of requests (RFC 9110, section 12.5.3)."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP, _ZLIB, _BARE = 31, 15, -15
"""What zlib is to expect. `deflate` has zlib's head, and in some clients none."""


class DecodedTooLarge(Exception):
    """A body that is longer than the server takes, once it is decoded."""


def encodings(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """How a body is encoded, in the order of its encoding. Raises UnknownEncoding."""
    given = ",".join(Headers(raw=headers).getlist("content-encoding")).lower().split(",")
    names = [name for part in given if (name := part.strip()) not in ("", "identity")]
    if len(names) > 1 or any(name not in ("gzip", "x-gzip", "deflate") for name in names):
        raise UnknownEncoding(
            f"The body is encoded as {', '.join(names)!r}.", f"Send it as it is, or in one of {TAKEN}."
        )
    return names


def decoded(body: bytes, names: list[str], most_bytes: int) -> bytes:
    """The body itself. Raises RequestError for one that is not what it says, and DecodedTooLarge."""
    for name in names:
        kinds = (_ZLIB, _BARE) if name == "deflate" else (_GZIP,)
        for kind in kinds:
            try:
                body = _inflated(body, kind, most_bytes)
                break
            except zlib.error:
                continue
        else:
            raise RequestError(f"The body says that it is encoded as {name}, and it is not.", "Send it as it is.")
    return body.removeprefix(_BYTE_ORDER_MARK)


def headers_of(headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a request that now has this body."""
    changed = MutableHeaders(
        raw=[header for header in headers if header[0] not in (b"content-encoding", b"transfer-encoding")]
    )
    changed["content-length"] = str(len(body))
    return changed.raw


def _inflated(data: bytes, kind: int, most_bytes: int) -> bytes:
    """One or more parts that were compressed by themselves. Raises zlib.error and DecodedTooLarge."""
    parts = bytearray()
    while data:
        inflater = zlib.decompressobj(kind)
        parts += inflater.decompress(data, most_bytes + 1 - len(parts))
        if len(parts) > most_bytes:
            raise DecodedTooLarge
        if not inflater.eof:
            raise zlib.error("cut off")
        data = inflater.unused_data
    return bytes(parts)
