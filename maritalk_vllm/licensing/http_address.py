"""HTTP and HTTPS URLs from users and servers: validate them, and say why their host cannot be reached."""

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING

from ..i18n.message import msg

if TYPE_CHECKING:
    import httpx

SCHEMES = ("http", "https")
_MAX_PORT = 65535
_NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)
_NO_ANSWER = (socket.EAI_AGAIN, socket.EAI_FAIL)
"""Errors of getaddrinfo for a name without an address, and if no DNS server answers."""


def parse_http_url(text: str) -> "httpx.URL":
    """Parse a URL to which a connection can be attempted. Raises ValueError, whose text is the reason."""
    import httpx

    try:
        url = httpx.URL(text)
        host, port, scheme = url.host, url.port, url.scheme  # httpx decodes a non-ASCII host only here
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError(str(error)) from error
    if scheme not in SCHEMES:
        raise ValueError(
            msg("it begins with {scheme}://, not with http:// or https://", scheme=scheme)
            if scheme
            else "it has no http://"
        )
    if not host:
        raise ValueError("it names no host")
    if port is not None and not 0 < port <= _MAX_PORT:
        raise ValueError(msg("there is no port {port}", port=port))
    return url


def connection_failure(error: Exception) -> str:
    """The reason for a failed connection to a host, which the text calls "it"."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME:
            return msg("its name was not found in the DNS")
        if isinstance(cause, socket.gaierror) and cause.errno in _NO_ANSWER:
            return msg("the DNS does not answer")
        number = cause.errno if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) else None
        if number is not None and number in errno.errorcode:
            return os.strerror(number)  # without its number, and as the catalogue has it
        if isinstance(cause, TimeoutError):
            return os.strerror(errno.ETIMEDOUT)
        cause = cause.__cause__ or cause.__context__
    return str(error)
