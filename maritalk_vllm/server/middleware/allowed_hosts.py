"""Host and origin checks for servers without API keys, against DNS rebinding and CSRF."""

import re
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from ...api.error_responses import error_response
from ...errors import Forbidden
from .api_keys import ApiKeys
from .host_names import is_address, plain

_PORT = re.compile(r":\d*$")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SHOWN = 100
"""Characters of a name that an error shows at most."""


class HostCheck:
    """The check of `Host` and `Origin`. With API keys it checks nothing: each request needs a key.

    A page of another site can make a browser send requests to a server on the user's machine or network. It can read
    the response only if its own name resolves to this server's address; `Host` then contains that name.
    """

    def __init__(self, keys: ApiKeys, host: str, names: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        """`host`: the host the server listens on. `names`: allowed hosts, `*.name` for subdomains, `*` for any `Host`.

        `origins`: origins whose pages may send requests, `*` for any.
        """
        self._keys = keys
        self._own = ("localhost", host)
        self._names = frozenset(names)
        self._origins = frozenset(origins)
        self._is_own = lru_cache(maxsize=256)(self._is_allowed_host)

    def error(self, scope: Scope) -> Forbidden | None:
        """Return why a request is rejected; None if it is allowed."""
        if self._keys:
            return None
        host, origin, site = "", None, b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1")
            elif name == b"origin":
                # Several Origin headers: none of them can be trusted.
                origin = value.decode("latin-1") if origin is None else ""
            elif name == b"sec-fetch-site":
                site = value
        if host and not self._is_own(host):
            return _foreign_host(host)
        if origin is None:
            # Some browsers send no Origin with a form.
            if site not in (b"cross-site", b"same-site") or scope["method"] in ("GET", "HEAD"):
                return None
        elif self._is_allowed_origin(origin, host):
            return None
        return _foreign_page(origin)

    def _is_allowed_origin(self, origin: str, host: str) -> bool:
        if origin in self._origins or "*" in self._origins:
            return True
        scheme, _, authority = origin.lower().partition("://")
        if not authority:
            return False
        default = _DEFAULT_PORTS.get(scheme, "")
        if authority.removesuffix(default) == host.lower().removesuffix(default):
            return True
        # Behind a proxy, the page's host can differ from `Host`. `*` in the names applies to `Host` only.
        return self._is_named(plain(_PORT.sub("", authority)))

    def _is_allowed_host(self, host: str) -> bool:
        name = plain(_PORT.sub("", host))
        if name in self._own or name.endswith(".localhost") or is_address(name):
            return True
        return "*" in self._names or self._is_named(name)

    def _is_named(self, name: str) -> bool:
        if name in self._names:
            return True
        parent = name.partition(".")[2]
        while parent:
            if f"*.{parent}" in self._names:
                return True
            parent = parent.partition(".")[2]
        return False


class AllowedHosts:
    """ASGI middleware that rejects what a HostCheck does not allow."""

    def __init__(self, app: ASGIApp, check: HostCheck) -> None:
        self._app = app
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or reject it."""
        error = self._check.error(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await error_response(scope["path"], error)(scope, receive, send)


def _foreign_host(host: str) -> Forbidden:
    name = plain(_PORT.sub("", host))
    return Forbidden(
        f"Without API keys, this server accepts only an IP address, localhost or a name in --allowed-host as the "
        f"request's host, not {name[:_SHOWN]!r}.",
        "Start it with --allowed-host and that name, or with --api-key.",
    )


def _foreign_page(origin: str | None) -> Forbidden:
    page = "another site" if origin is None else repr(origin[:_SHOWN])
    return Forbidden(
        f"Without API keys, this server rejects requests from pages of other sites, and this one is from {page}.",
        "If that is a name of this server's, start it with --allowed-host and the name; if it is another site that "
        "may ask, name it in vLLM's --allowed-origins after the `--`.",
    )
