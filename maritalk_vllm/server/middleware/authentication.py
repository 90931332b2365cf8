"""Who may come in: with a key set, nobody without one, whichever route they ask for."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ...api.error_responses import error_response
from ...errors import Unauthorized
from .api_keys import KEY, KEY_NAME, KEY_SCOPE, ApiKeys
from .probes import PROBES

_SCHEMES = ("bearer", "key")
_MISSING = Unauthorized("This server needs an API key.", "Send it as `Authorization: Bearer KEY`.")
_WRONG = Unauthorized("This API key is not one of this server's.", "Check it, or ask whoever runs the server.")


class Authentication:
    """ASGI middleware around all that the server answers. What is not named here as open is shut."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, *, open_status: bool = False) -> None:
        """`open_status`: `GET /` needs no key either."""
        self._app = app
        self._keys = keys
        self._open = (*PROBES, "/") if open_status else PROBES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, with its key's digest for those behind, or not."""
        refused = self._refused(scope)
        if refused is None:
            await self._app(scope, receive, send)
        else:
            answer = error_response(scope["path"], refused, {"WWW-Authenticate": "Bearer"})
            await answer(scope, receive, send)

    def _refused(self, scope: Scope) -> Unauthorized | None:
        if not self._keys or scope["type"] != "http":
            return None
        if scope["method"] in ("GET", "HEAD") and scope["path"] in self._open:
            return None
        headers = Headers(raw=scope["headers"])
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() not in _SCHEMES:
            # Anthropic's clients send it so.
            key = headers.get("x-api-key", "")
        key = _text(key).strip()
        if not key:
            return _MISSING
        scope[KEY] = found = self._keys.find(key)
        if found is None:
            return _WRONG
        scope[KEY_NAME], scope[KEY_SCOPE] = self._keys.name(found), self._keys.scope(found)
        return None


def _text(value: str) -> str:
    """A header's value, as Starlette reads it, in the encoding that its client chose: UTF-8, or else Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return value
