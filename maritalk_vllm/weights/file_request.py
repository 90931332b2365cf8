"""One request for a file, to a server that may send anything: its head comes in time, from where it may be."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from ..licensing.http_address import checked

MOST_REDIRECTS = 10


class Unfit(Exception):
    """The link or its server cannot be used, whenever it is tried again. The text is the reason."""


@asynccontextmanager
async def opened(link: str, headers: dict[str, str], silence: float) -> AsyncIterator[httpx.Response]:
    """The answer behind all redirects, whose body is not read yet and is never decoded.

    `silence` limits each wait, and twice that a whole head, in seconds. Raises Unfit or httpx.TransportError.
    """
    try:
        async with httpx.AsyncClient(timeout=silence) as client:
            request = client.build_request("GET", _address(link), headers={**headers, "Accept-Encoding": "identity"})
            for _ in range(MOST_REDIRECTS + 1):
                answer = await _head(client, request, 2 * silence)
                try:
                    if not answer.has_redirect_location:
                        _check_encoding(answer)
                        yield answer
                        return
                    request = _next(answer)
                finally:
                    # The body of a redirect is not read: it may have no end.
                    await answer.aclose()
            raise Unfit(f"its server redirects more than {MOST_REDIRECTS} times")
    except httpx.RemoteProtocolError as error:
        if _may_be_the_network(error):
            raise
        raise Unfit(f"its server does not keep to HTTP ({error})") from error
    except httpx.ConnectError as error:
        if not _is_of_certificate(error):
            raise
        raise Unfit(f"the certificate of its server is not trusted ({error})") from error


async def _head(client: httpx.AsyncClient, request: httpx.Request, seconds: float) -> httpx.Response:
    # Interim answers (1xx) may follow each other for ever, none of them late.
    try:
        async with asyncio.timeout(seconds):
            return await client.send(request, stream=True)
    except TimeoutError as error:
        raise httpx.ReadTimeout("head", request=request) from error
    except (httpx.InvalidURL, UnicodeError) as error:  # of a Location, which httpx reads though it does not follow it
        raise Unfit(f"its link cannot be used: {error}") from error


def _next(answer: httpx.Response) -> httpx.Request:
    """The request that a redirect asks for. Raises Unfit where it must not be followed."""
    request = answer.next_request
    assert request is not None  # of each answer with a Location that httpx can read; others raise RemoteProtocolError
    _address(str(request.url))
    if answer.url.scheme == "https" and request.url.scheme != "https":
        raise Unfit("its server redirects from https to http, which anyone on the way can change")
    return request


def _address(link: str) -> httpx.URL:
    try:
        return checked(link)
    except ValueError as error:
        raise Unfit(f"its link cannot be used: {error}") from error


def _check_encoding(answer: httpx.Response) -> None:
    # Files named .tar.gz are often said to be encoded by gzip. They are kept as they came, and read as archives.
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Unfit(f"its server sends it in the encoding {encoding[:40]!r}, which was not asked for")


def _may_be_the_network(error: httpx.RemoteProtocolError) -> bool:
    """Whether the connection ended too early, which is no fault of what was sent on it."""
    return str(error).startswith(("peer closed connection", "Server disconnected"))


def _is_of_certificate(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
