"""Functions on the head of a request: its host, and offers to upgrade the protocol."""

import httptools

from ..errors import RequestError

Headers = list[tuple[bytes, bytes]]

_UPGRADE_HEADERS = (b"upgrade", b"http2-settings")
"""Headers, and options of `Connection`, that offer an upgrade to another protocol, usually HTTP/2."""


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Serialize the head without its upgrade offer."""
    head = [method + b" " + target + b" HTTP/" + version.encode()]
    for name, value in headers:
        if name == b"connection":
            options = [option.strip() for option in value.split(b",")]
            value = b", ".join(option for option in options if option.lower() not in _UPGRADE_HEADERS)
        if name not in _UPGRADE_HEADERS:
            head.append(name + b": " + value)
    return b"\r\n".join([*head, b"", b""])


def host_error(version: str, headers: Headers) -> RequestError | None:
    """Return an error unless exactly one Host header is present (RFC 9112, section 3.2); HTTP/1.0 may omit it."""
    hosts = 0
    for name, _ in headers:
        hosts += name == b"host"
    if hosts > 1:
        return RequestError("The request has several Host headers.", "Send one.")
    if not hosts and version != "1.0":
        return RequestError("The request has no Host header, which HTTP/1.1 requires.", "Send one.")
    return None


def set_host_from_target(target: bytes, headers: Headers) -> None:
    """For a target in absolute form, replace the `Host` header by the host of the target."""
    if target.startswith(b"/") or b"://" not in target:
        return
    address = httptools.parse_url(target)
    host = b"[%b]" % address.host if b":" in address.host else address.host
    host += b":%d" % address.port if address.port else b""
    headers[:] = [header for header in headers if header[0] != b"host"]
    headers.append((b"host", host))
