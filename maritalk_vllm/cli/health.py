"""`maritalk-vllm health`: health check of this machine's server, for tools that run a command."""

import typer

from ..errors import MariTalkError, UsageError
from ..http.listener import join_url, reachable_host
from ..i18n.rendering import say
from ..settings import Settings
from .settings_options import with_settings

_TIMEOUT_SECONDS = 5.0
"""The probe takes milliseconds in every phase of the server."""


def health(ctx: typer.Context, settings: Settings, **_: object) -> None:
    """Ask a server on this machine whether it is alive. Takes the options or the environment of that server.

    Prints the state that it is in. Exit code 1: it is not alive, or does not answer.
    """
    import httpx

    url = _url(settings)
    try:
        # The certificate is for the server's public name, not for a loopback address.
        response = httpx.get(f"{url}/livez", timeout=_TIMEOUT_SECONDS, trust_env=False, verify=False)
    except httpx.TransportError as error:
        raise MariTalkError(say("No server answers at {url}.", url=url)) from error
    if not response.is_success:
        raise MariTalkError(say("The server at {url} is not alive: {status}.", url=url, status=response.status_code))
    try:
        status = response.json()["status"]
    except (ValueError, KeyError, TypeError):
        raise MariTalkError(say("What answers at {url} is another program.", url=url)) from None
    print(status)


def _url(settings: Settings) -> str:
    """URL of the server as seen from this machine. Raises UsageError."""
    if settings.port == 0:
        raise UsageError(say("A server on any free port cannot be asked."), say("Give its --port."))
    scheme = "https" if settings.ssl_certfile else "http"
    return join_url(scheme, reachable_host(settings.host), settings.port)


command = with_settings(
    health,
    shown=("port", "host", "ssl_certfile"),
    helps={
        "port": "Port of the server.",
        "host": "Address of the server.",
        "ssl_certfile": "The server's certificate: the server is then asked with HTTPS.",
    },
)
