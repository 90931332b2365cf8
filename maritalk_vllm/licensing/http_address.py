"""An address of http or https that a person or a server gave."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

SCHEMES = ("http", "https")
_MOST_PORT = 65535


def checked(text: str) -> "httpx.URL":
    """The address, to which a connection can be tried. Raises ValueError, whose text is the reason."""
    import httpx

    try:
        url = httpx.URL(text)
        host, port, scheme = url.host, url.port, url.scheme  # a host in other letters than ASCII is decoded only here
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError(str(error)) from error
    if scheme not in SCHEMES:
        raise ValueError(f"it begins with {scheme}://, not with http:// or https://" if scheme else "it has no http://")
    if not host:
        raise ValueError("it names no host")
    if port is not None and not 0 < port <= _MOST_PORT:
        raise ValueError(f"there is no port {port}")
    return url
