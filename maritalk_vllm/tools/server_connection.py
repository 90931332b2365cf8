"""Connection to a server: an HTTP client for its address, and a sentence for each way in which it may fail."""

import contextlib
from collections.abc import Iterator

import httpx

from ..errors import Unavailable
from ..i18n.rendering import say
from .server_address import ServerAddress

CONNECT_SECONDS = 10
_READ_TIMEOUT_SECONDS = 120
"""Long enough for a server that does not stream; streams send something every few seconds."""


def connect(address: ServerAddress) -> httpx.Client:
    """The client, which sends the API key. Raises UsageError for an address or a certificate that cannot be used."""
    return httpx.Client(
        base_url=address.parsed_url(),
        # As bytes, since a key may have characters beyond ASCII.
        headers={b"Authorization": f"Bearer {address.key}".encode()} if address.key else {},
        timeout=httpx.Timeout(_READ_TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
        verify=address.ssl_verify(),
        # Proxies from the environment do not apply to this machine.
        trust_env=not address.is_local,
    )


@contextlib.contextmanager
def mapped_errors(address: ServerAddress, advice: str) -> Iterator[None]:
    """Map errors of httpx, and of unexpected responses, to Unavailable; `advice` says how to try again."""
    url = address.url
    try:
        yield
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise untrusted_error(url, error) from error
        raise no_server_error(url) from error
    except httpx.ConnectTimeout as error:
        raise no_server_error(url) from error
    except httpx.ReadTimeout as error:
        message = say("{url} was silent for {seconds} s.", url=url, seconds=_READ_TIMEOUT_SECONDS)
        raise Unavailable(message, advice) from error
    except httpx.TransportError as error:
        raise Unavailable(say("The connection to {url} broke off.", url=url), advice) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(say("{url} does not answer as a MariTalk server does.", url=url)) from error


def untrusted_error(url: str, reason: object) -> Unavailable:
    """The error for a server whose certificate is not trusted."""
    return Unavailable(
        say("The certificate of {url} is not trusted: {reason}.", url=url, reason=reason),
        say("Name the certificate authority that signed it with --cacert FILE."),
    )


def no_server_error(url: str) -> Unavailable:
    """The error for an address at which nothing listens."""
    return Unavailable(
        say("No server answers at {url}.", url=url),
        say("Start one with `maritalk-serve`, or give the address of another with --url."),
    )
