"""Limits for each API key: requests and tokens a minute, and answers in progress."""

from collections import Counter
from collections.abc import Callable
from typing import Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...engine.request_usage import RequestUsage, current
from ...errors import MariTalkError, RequestError, TooManyRequests
from .api_keys import KEY
from .usage_window import UsageWindow


class Usage:
    """The usage of each key, and its answers in progress. It stays when the limits change."""

    def __init__(self, requests: int | None, tokens: int | None) -> None:
        """Limits a minute; None for none, where nothing is counted either."""
        self.requests: UsageWindow | None = None
        self.tokens: UsageWindow | None = None
        self.answers: Counter[str] = Counter()
        self.limit(requests, tokens)

    def limit(self, requests: int | None, tokens: int | None) -> None:
        """These limits hold from now on, in the minutes that have begun too."""
        self.requests = _limited(self.requests, requests, "requests")
        self.tokens = _limited(self.tokens, tokens, "tokens")


def _limited(minute: UsageWindow | None, limit: int | None, what: Literal["requests", "tokens"]) -> UsageWindow | None:
    if minute is None or limit is None:
        return None if limit is None else UsageWindow(limit, what)
    minute.limited(limit)
    return minute


class RateLimits:
    """ASGI middleware that follows authentication. Reading costs nothing.

    The most that a request may take is reserved before the engine begins with it: its prompts, and the longest answers
    that it asks for. When it is over, however it ends, the key is charged with the tokens that it took.
    """

    def __init__(
        self,
        app: ASGIApp,
        usage: Usage,
        answers: Callable[[], int | None] = lambda: None,
        *,
        has_engine: bool = True,
    ) -> None:
        """`answers`: how many a key may have in progress, which may change while the server runs.

        `has_engine`: the engine is behind it, which takes from allowances; else requests are passed on to where it is.
        """
        self._app = app
        self._usage = usage
        self._answers = answers
        self._has_engine = has_engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through if its key has anything left."""
        key = scope.get(KEY)
        if key is None or scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        usage = self._usage
        for minute in (usage.tokens, usage.requests):
            if minute and minute.left(key) < 1:
                wait = minute.wait_seconds(key, 1)
                await self._refuse(_none_left(minute, key, wait), wait, scope, send)
                return
        if usage.requests:
            usage.requests.charge(key, 1)
        account = current.get()
        if account is None or not self._has_engine:
            await self._app(scope, receive, send)
            return
        allowance = _Allowance(key, account, usage.tokens, usage.answers, self._answers())
        account.allowance = allowance
        held = _Held(send, allowance)
        try:
            await self._app(scope, receive, held.send)
        except Exception:
            if allowance.refused is None:
                raise
        finally:
            allowance.settle()
        if allowance.refused is None:
            await held.release()
        elif not held.released:
            account.rejection = str(allowance.refused)
            await self._refuse(allowance.refused, allowance.wait_seconds, scope, send)

    @staticmethod
    async def _refuse(error: MariTalkError, wait_seconds: int, scope: Scope, send: Send) -> None:
        headers = {"Retry-After": str(wait_seconds)} if isinstance(error, TooManyRequests) else {}
        await error_response(scope["path"], error, headers)(scope, _nothing, send)


def _none_left(minute: UsageWindow, key: str, wait: int) -> TooManyRequests:
    if minute.is_used_up(key):
        return TooManyRequests(f"This key has used up its {minute.limit} {minute.what} a minute.", f"Wait {wait} s.")
    return TooManyRequests(
        f"Requests in flight with this key reserve all that is left of its {minute.limit} {minute.what} a minute.",
        "Wait until one of them is over, or set max_tokens: without it, a request reserves all that is left.",
    )


class _Allowance:
    """The reservation of one request for its key."""

    def __init__(
        self,
        key: str,
        account: RequestUsage,
        minute: UsageWindow | None,
        in_progress: Counter[str],
        most_answers: int | None,
    ) -> None:
        self._key = key
        self._account = account
        self._minute = minute
        self._in_progress = in_progress
        self._most_answers = most_answers
        self._answers = 0
        self._least = self._most = self._tokens = 0
        self._settled = False
        self.refused: MariTalkError | None = None
        self.wait_seconds = 1

    @property
    def is_decided(self) -> bool:
        """Whether the engine has begun with it, or never will."""
        return self._answers > 0 or self.refused is not None

    def take(self, prompt_tokens: int, answers: int, answer_tokens: int, *, is_open: bool) -> None:
        """As `Allowance` of engine/request_usage.py has it."""
        try:
            self._take_answers(answers)
            if self._minute is not None:
                # Without max_tokens, an answer is rarely as long as the context.
                longest = answers * answer_tokens
                least = 1 if is_open and answers == 1 else longest
                self._take_tokens(self._minute, prompt_tokens + least, prompt_tokens + longest)
        except MariTalkError as error:
            self.refused = error
            raise

    def settle(self) -> None:
        """The request is over: charge its tokens, and give back the rest of its reservation."""
        tokens = self._account.close().tokens
        if self._settled:
            return
        self._settled = True
        self._in_progress[self._key] -= self._answers
        if not self._in_progress[self._key]:
            del self._in_progress[self._key]
        if self._minute is not None:
            self._minute.reserve(self._key, -self._tokens)
            self._minute.charge(self._key, tokens)

    def _take_answers(self, answers: int) -> None:
        if (limit := self._most_answers) is not None:
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

    def _take_tokens(self, minute: UsageWindow, least: int, most: int) -> None:
        """Reserve `most` tokens, or what is left if that is no less than `least`; all takes of a request together."""
        least, most = self._least + least, self._most + most
        if least > minute.limit:
            raise RequestError(
                f"The request may come to {least} tokens, its prompts and the longest answers that it asks for, over "
                f"this key's limit of {minute.limit} a minute.",
                "Shorten the prompt, or lower max_tokens or n.",
            )
        left = minute.left(self._key) + self._tokens
        if least > left:
            self.wait_seconds = minute.wait_seconds(self._key, least)
            raise TooManyRequests(
                f"The request may come to {least} tokens, and this key has {max(0, left)} left of its {minute.limit} "
                "a minute; requests in flight reserve what they may come to.",
                f"Wait {self.wait_seconds} s, or lower max_tokens.",
            )
        tokens = min(left, most)
        minute.reserve(self._key, tokens - self._tokens)
        self._least, self._most, self._tokens = least, most, tokens


class _Held:
    """Holds an answer back until it is decided whether the request is refused: vLLM begins some before that."""

    def __init__(self, send: Send, allowance: _Allowance) -> None:
        self._send = send
        self._allowance = allowance
        self._messages: list[Message] = []
        self.released = False

    async def send(self, message: Message) -> None:
        """Send on, or hold. vLLM's own answer to a refusal is dropped."""
        if not _goes_on(message):
            # Before the client can have read the end of its answer, and asks again.
            self._allowance.settle()
        if self.released:
            await self._send(message)
            return
        if self._allowance.refused is not None:
            return
        self._messages.append(message)
        if self._allowance.is_decided or not _goes_on(message):
            await self.release()

    async def release(self) -> None:
        """Send the messages that were held."""
        self.released = True
        while self._messages:
            await self._send(self._messages.pop(0))


def _goes_on(message: Message) -> bool:
    return message["type"] == "http.response.start" or bool(message.get("more_body", False))


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
