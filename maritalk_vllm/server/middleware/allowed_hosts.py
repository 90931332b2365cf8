"""The names and pages that may reach a server without API keys: its own alone (DNS rebinding, CSRF)."""

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
"""Characters of a name that an error repeats."""


class AllowedHosts:
    """ASGI middleware. With keys it checks nothing: each request needs a key.

    A page of another site can make a browser send requests to a server on the user's own machine or network. It can
    read the answer only if its name has come to mean this server's address; but then `Host` has that name.
    """

    def __init__(
        self, app: ASGIApp, keys: ApiKeys, host: str, names: Iterable[str] = (), origins: Iterable[str] = ()
    ) -> None:
        """`host` is listened on; `names` are allowed, `*.` before one for all below it, `*` for every `Host`.

        Pages of `origins` may ask, of every site with `*`.
        """
        self._app = app
        self._keys = keys
        self._own = ("localhost", host)
        self._names = frozenset(names)
        self._origins = frozenset(origins)
        self._is_own = lru_cache(maxsize=256)(self._looks_own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        refused = self.refused(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await error_response(scope["path"], refused)(scope, receive, send)

    def refused(self, scope: Scope) -> Forbidden | None:
        """Why a request is refused; None if it is not."""
        if self._keys:
            return None
        host, origin, site = "", None, b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value.decode("latin-1")
            elif name == b"origin":
                # Of two, none is the one.
                origin = value.decode("latin-1") if origin is None else ""
            elif name == b"sec-fetch-site":
                site = value
        if host and not self._is_own(host):
            return _foreign_host(host)
        if origin is None:
            # Some browsers do not say where a form is from.
            if site not in (b"cross-site", b"same-site") or scope["method"] in ("GET", "HEAD"):
                return None
        elif self._may_ask(origin, host):
            return None
        return _foreign_page(origin)

    def _may_ask(self, origin: str, host: str) -> bool:
        if origin in self._origins or "*" in self._origins:
            return True
        scheme, _, place = origin.lower().partition("://")
        if not place:
            return False
        default = _DEFAULT_PORTS.get(scheme, "")
        if place.removesuffix(default) == host.lower().removesuffix(default):
            return True
        # Behind a proxy the page has another name than `Host`. The star of the names is for `Host` alone.
        return self._is_named(plain(_PORT.sub("", place)))

    def _looks_own(self, host: str) -> bool:
        name = plain(_PORT.sub("", host))
        if name in self._own or name.endswith(".localhost") or is_address(name):
            return True
        return "*" in self._names or self._is_named(name)

    def _is_named(self, name: str) -> bool:
        if name in self._names:
            return True
        below = name.partition(".")[2]
        while below:
            if f"*.{below}" in self._names:
                return True
            below = below.partition(".")[2]
        return False


def _foreign_host(host: str) -> Forbidden:
    name = plain(_PORT.sub("", host))
    return Forbidden(
        f"Without API keys, this server is asked by IP address, as localhost or by a name that --allowed-host gives, "
        f"and not as {name[:_SHOWN]!r}.",
        "Start it with --allowed-host and that name, or with --api-key.",
    )


def _foreign_page(origin: str | None) -> Forbidden:
    page = "another site" if origin is None else repr(origin[:_SHOWN])
    return Forbidden(
        f"Without API keys, this server answers no pages of other sites, and this request is from {page}.",
        "If that is a name of this server's, start it with --allowed-host and the name; if it is another site that "
        "may ask, name it in vLLM's --allowed-origins after the `--`.",
    )
