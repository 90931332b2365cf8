"""Decoding of request bodies: content encodings, and the byte order mark."""

import codecs
import zlib

from starlette.datastructures import Headers, MutableHeaders

from ...errors import RequestError, UnknownEncoding

ACCEPTED = "gzip, deflate"
"""Value of the `Accept-Encoding` response header for requests (RFC 9110, section 12.5.3)."""

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""Values of zlib's `wbits`. `deflate` has a zlib header, which some clients omit."""


class DecodedTooLarge(Exception):
    """The decoded body is longer than the server's limit."""


def encodings(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """Return the content encodings in the order they were applied. Raises UnknownEncoding."""
    values = ",".join(Headers(raw=headers).getlist("content-encoding")).lower().split(",")
    names = [name for part in values if (name := part.strip()) not in ("", "identity")]
    if len(names) > 1 or any(name not in ("gzip", "x-gzip", "deflate") for name in names):
        raise UnknownEncoding(
            f"The body is encoded as {', '.join(names)!r}.", f"Send it as it is, or in one of {ACCEPTED}."
        )
    return names


def decode(body: bytes, names: list[str], max_bytes: int) -> bytes:
    """Decode a body. Raises RequestError if it is not encoded as `names` state, and DecodedTooLarge."""
    for name in names:
        formats = (_ZLIB, _RAW) if name == "deflate" else (_GZIP,)
        for wbits in formats:
            try:
                body = _inflate(body, wbits, max_bytes)
                break
            except zlib.error:
                continue
        else:
            raise RequestError(f"The body says that it is encoded as {name}, and it is not.", "Send it as it is.")
    return body.removeprefix(codecs.BOM_UTF8)


def decoded_headers(headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the request's headers for its decoded body: without encodings, with the new length."""
    changed = MutableHeaders(
        raw=[header for header in headers if header[0] not in (b"content-encoding", b"transfer-encoding")]
    )
    changed["content-length"] = str(len(body))
    return changed.raw


def _inflate(data: bytes, wbits: int, max_bytes: int) -> bytes:
    """Decompress one or more concatenated streams. Raises zlib.error and DecodedTooLarge."""
    result = bytearray()
    while data:
        inflater = zlib.decompressobj(wbits)
        result += inflater.decompress(data, max_bytes + 1 - len(result))
        if len(result) > max_bytes:
            raise DecodedTooLarge
        if not inflater.eof:
            raise zlib.error("cut off")
        data = inflater.unused_data
    return bytes(result)
