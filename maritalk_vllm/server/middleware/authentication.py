"""API key authentication: when keys are set, every route but the probes requires one."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ...api.error_responses import error_response
from ...engine.request_context import CONTEXT, RequestContext
from ...errors import Unauthorized
from .api_keys import ApiKeys
from .probes import PROBES

_SCHEMES = ("bearer", "key")
_MISSING = Unauthorized("This server needs an API key.", "Send it as `Authorization: Bearer KEY`.")
_WRONG = Unauthorized("This API key is not one of this server's.", "Check it, or ask the server's administrator.")


class Authentication:
    """ASGI middleware that requires an API key on every path that is not listed as open."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, *, open_status: bool = False) -> None:
        """`open_status`: `GET /` needs no key."""
        self._app = app
        self._keys = keys
        self._open_paths = (*PROBES, "/") if open_status else PROBES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an authenticated request on, with its key's digest, name and scope in its context, or reject it."""
        error = self._authenticate(scope)
        if error is None:
            await self._app(scope, receive, send)
        else:
            response = error_response(scope["path"], error, {"WWW-Authenticate": "Bearer"})
            await response(scope, receive, send)

    def _authenticate(self, scope: Scope) -> Unauthorized | None:
        """Return why the request is rejected; None if it is allowed."""
        if not self._keys or scope["type"] != "http":
            return None
        if scope["method"] in ("GET", "HEAD") and scope["path"] in self._open_paths:
            return None
        headers = Headers(raw=scope["headers"])
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() not in _SCHEMES:
            # Anthropic's clients send the key in this header.
            key = headers.get("x-api-key", "")
        key = _text(key).strip()
        if not key:
            return _MISSING
        context: RequestContext = scope[CONTEXT]
        context.has_key = True
        context.key_digest = digest = self._keys.match(key)
        if digest is None:
            return _WRONG
        context.key_name, context.key_scope = self._keys.label_of(digest), self._keys.scope_of(digest)
        return None


def _text(value: str) -> str:
    """Decode a header value that Starlette read as Latin-1: as UTF-8 if it is valid UTF-8, else as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value
