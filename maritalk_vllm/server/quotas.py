"""How much each API key may ask for in a minute."""

import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from ..api.refusal import refusal
from ..engine.account import current
from ..errors import TooManyRequests
from .keys import KEY


class Quotas:
    """ASGI middleware behind the door. Reading costs nothing; the minute is the clock's, for each key by itself.

    Tokens are counted when an answer is whole, so that the one in which the quota ends is still given.
    """

    def __init__(self, app: ASGIApp, requests: int | None, tokens: int | None) -> None:
        self._app = app
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests, namespace="requests") if requests else None
        self._tokens = RateLimitItemPerMinute(tokens, namespace="tokens") if tokens else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through if its key has anything left."""
        key = scope.get(KEY)
        if key is None or scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        spent = self._spent(key)
        if spent is not None:
            wait = max(1, math.ceil(self._limiter.get_window_stats(spent, key).reset_time - time.time()))
            error = TooManyRequests(
                f"This key has used up its {spent.amount} {spent.namespace} a minute.", f"Wait {wait} s."
            )
            await refusal(scope["path"], error, {"Retry-After": str(wait)})(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            account = current.get()
            if self._tokens and account and (used := account.prompt_tokens + account.completion_tokens):
                self._limiter.hit(self._tokens, key, cost=used)

    def _spent(self, key: str) -> RateLimitItem | None:
        """The limit that the key has reached; otherwise one more request is counted."""
        if self._tokens and not self._limiter.test(self._tokens, key):
            return self._tokens
        if self._requests and not self._limiter.hit(self._requests, key):
            return self._requests
        return None
