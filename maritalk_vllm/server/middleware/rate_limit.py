"""Rate limits per API key: requests and tokens per minute, and concurrent answers."""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...api.openai_adapter import normalize_path
from ...engine.request_context import context_of
from ...engine.request_usage import RequestUsage
from ...errors import MariTalkError, RequestError, TooManyRequests
from .shared_usage import SharedUsage
from .usage_window import Kind, UsageWindow


class Answers(Protocol):
    """The number of answers in progress of each key: a Counter, or SharedAnswers."""

    def __getitem__(self, key: str) -> int: ...
    def __setitem__(self, key: str, number: int) -> None: ...
    def __delitem__(self, key: str) -> None: ...


class Usage:
    """The usage and the answers in progress of each key. It is kept when the limits change."""

    def __init__(
        self,
        requests: int | None,
        tokens: int | None,
        shared: SharedUsage | None = None,
        *,
        batch_tokens: int | None = None,
    ) -> None:
        """Limits per minute; None for no limit, in which case nothing is counted.

        `tokens`: of requests, `batch_tokens`: of lines of batches. `shared`: the usage of several API processes; None
        for that of this process alone.
        """
        self._shared = shared
        self.requests: UsageWindow | None = None
        self.tokens: UsageWindow | None = None
        self.batch_tokens: UsageWindow | None = None
        self.answers: Answers = Counter() if shared is None else shared.answers
        self.set_limits(requests, tokens, batch_tokens)

    def set_limits(self, requests: int | None, tokens: int | None, batch_tokens: int | None) -> None:
        """Replace the limits, also for windows that have already started."""
        with self.exclusive():
            self.requests = self._with_limit(self.requests, requests, "requests")
            self.tokens = self._with_limit(self.tokens, tokens, "tokens")
            self.batch_tokens = self._with_limit(self.batch_tokens, batch_tokens, "batch_tokens")

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from the usage. Not reentrant."""
        return contextlib.nullcontext() if self._shared is None else self._shared.exclusive()

    def _with_limit(self, window: UsageWindow | None, limit: int | None, what: Kind) -> UsageWindow | None:
        if window is None or limit is None:
            windows = None if self._shared is None else self._shared.windows(what)
            return None if limit is None else UsageWindow(limit, what, windows)
        window.set_limit(limit)
        return window


class RateLimits:
    """ASGI middleware after authentication. GET and HEAD are exempt.

    The maximum that a request may use, its prompts and the longest answers that it asks for, is reserved before the
    engine starts it. When the request ends, complete or aborted, the key is charged with the tokens that it used.
    """

    def __init__(
        self,
        app: ASGIApp,
        usage: Usage,
        answers_per_key: Callable[[], int | None] = lambda: None,
        *,
        has_engine: bool = True,
    ) -> None:
        """`answers_per_key` returns how many answers a key may have in progress; it can change while the server runs.

        `has_engine`: `app` runs the engine, which reserves tokens. Otherwise `app` forwards requests to a process that
        does.
        """
        self._app = app
        self._usage = usage
        self._answers_per_key = answers_per_key
        self._has_engine = has_engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on if its key has usage left, or reject it."""
        context = context_of(scope)
        key = None if context is None else context.key_digest
        if context is None or key is None or scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        if (error := self._charge_request(key, scope["path"])) is not None:
            await error_response(scope["path"], error)(scope, receive, send)
            return
        if not self._has_engine:
            await self._app(scope, receive, send)
            return
        allowance = _Allowance(key, context.usage, self._usage, self._answers_per_key())
        context.usage.allowance = allowance
        buffer = _ResponseBuffer(send, allowance)
        try:
            await self._app(scope, receive, buffer.send)
        except Exception:
            if allowance.error is None:
                raise
        finally:
            allowance.settle()
        if allowance.error is None:
            await buffer.flush()
        elif not buffer.is_flushed:
            context.rejection = str(allowance.error)
            await error_response(scope["path"], allowance.error)(scope, receive, send)

    def _charge_request(self, key: str, path: str) -> TooManyRequests | None:
        """Charge a key with one request; return the error if nothing remains."""
        usage = self._usage
        tokens = None if _is_for_batches(path) else usage.tokens
        try:
            with usage.exclusive():
                for window in (tokens, usage.requests):
                    if window and window.remaining(key) < 1:
                        return _nothing_remaining(window, key)
                if usage.requests:
                    usage.requests.charge(key, 1)
        except TooManyRequests as error:  # there are too many keys
            return error
        return None


def _is_for_batches(path: str) -> bool:
    """Whether a route generates nothing: lines of batches have tokens of their own."""
    return str(normalize_path(path).get("path", path)).startswith(("/v1/files", "/v1/batches"))


def _nothing_remaining(window: UsageWindow, key: str) -> TooManyRequests:
    wait = window.wait_seconds(key, 1)
    if window.is_used_up(key):
        return TooManyRequests(
            f"This key has used up its {window.limit} {window.what} a minute.", f"Wait {wait} s.", wait
        )
    return TooManyRequests(
        f"Requests in flight with this key reserve all that is left of its {window.limit} {window.what} a minute.",
        "Wait until one of them is over, or set max_tokens: without it, a request reserves all that is left.",
        wait,
    )


class _Allowance:
    """Tokens that one request has reserved for its key."""

    def __init__(
        self,
        key: str,
        usage: RequestUsage,
        usage_of_keys: Usage,
        max_answers: int | None,
    ) -> None:
        self._key = key
        self._usage = usage
        self._exclusive = usage_of_keys.exclusive
        self._window = usage_of_keys.tokens
        self._in_progress = usage_of_keys.answers
        self._max_answers = max_answers
        self._answers = 0
        self._min_tokens = self._max_tokens = self._reserved_tokens = 0
        self._settled = False
        self.error: MariTalkError | None = None

    @property
    def is_decided(self) -> bool:
        """Whether the request was admitted to the engine, or rejected."""
        return self._answers > 0 or self.error is not None

    def take(self, prompt_tokens: int, answers: int, answer_tokens: int, *, is_open: bool) -> None:
        """Reserve, as `Allowance` of engine/request_usage.py describes."""
        # Without max_tokens, an answer rarely fills the context, so one token is enough to admit it.
        longest = answers * answer_tokens
        least = 1 if is_open and answers == 1 else longest
        try:
            with self._exclusive():
                self._reserve_answers(answers)
                if self._window is not None:
                    self._reserve_tokens(self._window, prompt_tokens + least, prompt_tokens + longest)
        except MariTalkError as error:
            self.error = error
            raise

    def settle(self) -> None:
        """Charge the tokens of the finished request, and release its reservation."""
        tokens = self._usage.close().tokens
        if self._settled:
            return
        self._settled = True
        with self._exclusive():
            self._in_progress[self._key] -= self._answers
            if not self._in_progress[self._key]:
                del self._in_progress[self._key]
            if self._window is not None:
                self._window.reserve(self._key, -self._reserved_tokens)
                self._window.charge(self._key, tokens)

    def _reserve_answers(self, answers: int) -> None:
        if (limit := self._max_answers) is not None:
            if self._answers + answers > limit:
                raise RequestError(
                    f"The request asks for more answers than the {limit} that an API key may have in progress at once.",
                    "Send several requests.",
                )
            if (busy := self._in_progress[self._key]) + answers > limit:
                raise TooManyRequests(
                    f"This key has {busy} answers in progress, and the request asks for {answers} more: the limit is "
                    f"{limit} at once.",
                    "Wait until one is finished.",
                )
        self._answers += answers
        self._in_progress[self._key] += answers

    def _reserve_tokens(self, window: UsageWindow, least: int, most: int) -> None:
        """Reserve `most` tokens, or what remains if that is at least `least`; the calls of one request add up."""
        least, most = self._min_tokens + least, self._max_tokens + most
        if least > window.limit:
            raise RequestError(
                f"The request may come to {least} tokens, its prompts and the longest answers that it asks for, over "
                f"this key's limit of {window.limit} a minute.",
                "Shorten the prompt, or lower max_tokens or n.",
            )
        remaining = window.remaining(self._key) + self._reserved_tokens
        if least > remaining:
            wait = window.wait_seconds(self._key, least)
            raise TooManyRequests(
                f"The request may come to {least} tokens, and this key has {max(0, remaining)} left of its "
                f"{window.limit} a minute; requests in flight reserve what they may come to.",
                f"Wait {wait} s, or lower max_tokens.",
                wait,
            )
        tokens = min(remaining, most)
        window.reserve(self._key, tokens - self._reserved_tokens)
        self._min_tokens, self._max_tokens, self._reserved_tokens = least, most, tokens


class _ResponseBuffer:
    """Buffers the response until the request is admitted or rejected: vLLM starts some responses before that."""

    def __init__(self, send: Send, allowance: _Allowance) -> None:
        self._send = send
        self._allowance = allowance
        self._messages: list[Message] = []
        self.is_flushed = False

    def send(self, message: Message) -> Awaitable[None]:
        """Send or buffer a message. vLLM's own error response to a rejected request is dropped."""
        if not _more_follows(message):
            # Settle before the client can read the end of the response and send its next request.
            self._allowance.settle()
        return self._send(message) if self.is_flushed else self._buffer(message)

    async def _buffer(self, message: Message) -> None:
        if self._allowance.error is not None:
            return
        self._messages.append(message)
        if self._allowance.is_decided or not _more_follows(message):
            await self.flush()

    async def flush(self) -> None:
        """Send the buffered messages; later ones are sent directly."""
        self.is_flushed = True
        while self._messages:
            await self._send(self._messages.pop(0))


def _more_follows(message: Message) -> bool:
    return message["type"] == "http.response.start" or bool(message.get("more_body", False))
