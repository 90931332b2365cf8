"""The head of a request: the host that it names, and the other protocol that it may offer."""

import httptools

from ..errors import RequestError

Headers = list[tuple[bytes, bytes]]

_OF_UPGRADES = (b"upgrade", b"http2-settings")
"""Headers, and options of `Connection`, that offer another protocol: HTTP/2 most often."""


def without_offer(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """The same head, as a client sends it that offers no other protocol."""
    head = [method + b" " + target + b" HTTP/" + version.encode()]
    for name, value in headers:
        if name == b"connection":
            options = [option.strip() for option in value.split(b",")]
            value = b", ".join(option for option in options if option.lower() not in _OF_UPGRADES)
        if name not in _OF_UPGRADES:
            head.append(name + b": " + value)
    return b"\r\n".join([*head, b"", b""])


def host_error(version: str, headers: Headers) -> RequestError | None:
    """Why the host is not known: exactly one header names it (RFC 9112, section 3.2)."""
    hosts = 0
    for name, _ in headers:
        hosts += name == b"host"
    if hosts > 1:
        return RequestError("The request has several Host headers.", "Send one.")
    if not hosts and version != "1.0":
        return RequestError("The request has no Host header, which HTTP/1.1 demands.", "Send one.")
    return None


def take_host_of_target(target: bytes, headers: Headers) -> None:
    """A target that is a whole address names the host that is meant, and its `Host` header is ignored."""
    if target.startswith(b"/") or b"://" not in target:
        return
    address = httptools.parse_url(target)
    host = b"[%b]" % address.host if b":" in address.host else address.host
    host += b":%d" % address.port if address.port else b""
    headers[:] = [header for header in headers if header[0] != b"host"]
    headers.append((b"host", host))
