"""Request a file from an untrusted server: with a timeout for the headers, and only from permitted addresses."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from ..i18n.message import msg
from ..licensing.http_address import parse_http_url

MAX_REDIRECTS = 10


class UnusableLink(Exception):
    """The link or its server can never be used, so retries are useless. The text is the reason."""


@asynccontextmanager
async def open_response(link: str, headers: dict[str, str], silence: float) -> AsyncIterator[httpx.Response]:
    """Follow redirects and open the response. Its body is not read yet, and is never decoded.

    `silence` limits each wait in seconds, and twice that all headers. Raises UnusableLink or httpx.TransportError.
    """
    try:
        async with httpx.AsyncClient(timeout=silence) as client:
            request = client.build_request("GET", _parse_link(link), headers={**headers, "Accept-Encoding": "identity"})
            for _ in range(MAX_REDIRECTS + 1):
                response = await _send(client, request, 2 * silence)
                try:
                    if not response.has_redirect_location:
                        _check_encoding(response)
                        yield response
                        return
                    request = _follow_redirect(response)
                finally:
                    # The body of a redirect is not read: it may be endless.
                    await response.aclose()
            raise UnusableLink(msg("its server redirects more than {number} times", number=MAX_REDIRECTS))
    except httpx.RemoteProtocolError as error:
        if _is_early_close(error):
            raise
        raise UnusableLink(msg("its server does not keep to HTTP ({error})", error=error)) from error
    except httpx.ConnectError as error:
        if not _is_certificate_error(error):
            raise
        raise UnusableLink(msg("the certificate of its server is not trusted ({error})", error=error)) from error


async def _send(client: httpx.AsyncClient, request: httpx.Request, seconds: float) -> httpx.Response:
    # Interim responses (1xx) may follow each other forever, each of them in time.
    try:
        async with asyncio.timeout(seconds):
            return await client.send(request, stream=True)
    except TimeoutError as error:
        raise httpx.ReadTimeout("head", request=request) from error
    except (httpx.InvalidURL, UnicodeError) as error:  # httpx parses a Location even if it does not follow it
        raise UnusableLink(msg("its link cannot be used: {error}", error=error)) from error


def _follow_redirect(response: httpx.Response) -> httpx.Request:
    """The next request after a redirect. Raises UnusableLink if the redirect must not be followed."""
    request = response.next_request
    assert request is not None  # httpx raises RemoteProtocolError for a Location that it cannot parse
    _parse_link(str(request.url))
    if response.url.scheme == "https" and request.url.scheme != "https":
        raise UnusableLink("its server redirects from https to http, which anyone on the way can change")
    return request


def _parse_link(link: str) -> httpx.URL:
    try:
        return parse_http_url(link)
    except ValueError as error:
        raise UnusableLink(msg("its link cannot be used: {error}", error=error)) from error


def _check_encoding(response: httpx.Response) -> None:
    # Servers often declare .tar.gz files as gzip-encoded. They are stored as received, and read as archives.
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise UnusableLink(
            msg("its server sends it in the encoding {encoding!r}, which was not asked for", encoding=encoding[:40])
        )


def _is_early_close(error: httpx.RemoteProtocolError) -> bool:
    """Whether the connection was closed early, rather than the server violating HTTP."""
    return str(error).startswith(("peer closed connection", "Server disconnected"))


def _is_certificate_error(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
