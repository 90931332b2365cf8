"""How much each API key may ask for in a minute, and how many answers it may have in progress."""

from collections import Counter
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.refusal import refusal
from ..engine.account import Account, current
from ..errors import MariTalkError, RequestError, TooManyRequests
from .keys import KEY
from .minute import Minute


class Quotas:
    """ASGI middleware behind the door. Reading costs nothing.

    What a request may come to is reserved before the engine begins with it: its prompts, and as many tokens as its
    answers may have. When it is over, however it ends, the key is charged with what it came to.
    """

    def __init__(
        self,
        app: ASGIApp,
        requests: int | None,
        tokens: int | None,
        answers: Callable[[], int | None] = lambda: None,
        *,
        has_engine: bool = True,
    ) -> None:
        """`answers`: how many a key may have in progress, which may change while the server runs.

        `has_engine`: the engine is behind it, which takes from allowances; else requests are passed on to where it is.
        """
        self._app = app
        self._requests = Minute(requests, "requests") if requests else None
        self._tokens = Minute(tokens, "tokens") if tokens else None
        self._answers = answers
        self._has_engine = has_engine
        self._in_progress: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through if its key has anything left."""
        key = scope.get(KEY)
        if key is None or scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        for minute in (self._tokens, self._requests):
            if minute and minute.left(key) < 1:
                wait = minute.wait_seconds(key, 1)
                error = TooManyRequests(
                    f"This key has used up its {minute.limit} {minute.what} a minute.", f"Wait {wait} s."
                )
                await self._refuse(error, wait, scope, send)
                return
        if self._requests:
            self._requests.charge(key, 1)
        account = current.get()
        if account is None or not self._has_engine:
            await self._app(scope, receive, send)
            return
        allowance = _Allowance(key, account, self._tokens, self._in_progress, self._answers())
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
            account.refusal = str(allowance.refused)
            await self._refuse(allowance.refused, allowance.wait_seconds, scope, send)

    @staticmethod
    async def _refuse(error: MariTalkError, wait_seconds: int, scope: Scope, send: Send) -> None:
        headers = {"Retry-After": str(wait_seconds)} if isinstance(error, TooManyRequests) else {}
        await refusal(scope["path"], error, headers)(scope, _nothing, send)


class _Allowance:
    """What one request has reserved for its key."""

    def __init__(
        self,
        key: str,
        account: Account,
        minute: Minute | None,
        in_progress: Counter[str],
        most_answers: int | None,
    ) -> None:
        self._key = key
        self._account = account
        self._minute = minute
        self._in_progress = in_progress
        self._most_answers = most_answers
        self._answers = self._tokens = 0
        self._settled = False
        self.refused: MariTalkError | None = None
        self.wait_seconds = 1

    @property
    def is_decided(self) -> bool:
        """Whether the engine has begun with it, or never will."""
        return self._answers > 0 or self.refused is not None

    def take(self, prompt_tokens: int, answers: int, answer_tokens: int, *, is_open: bool) -> None:
        """As `Allowance` of engine/account.py has it."""
        try:
            self._take_answers(answers)
            if self._minute is not None:
                # Without max_tokens, an answer is rarely as long as the context: it reserves what is left.
                self._take_tokens(self._minute, prompt_tokens, answers, answer_tokens, is_open=is_open and answers == 1)
        except MariTalkError as error:
            self.refused = error
            raise

    def settle(self) -> None:
        """The request is over: what it came to is charged, and the rest of what it had reserved is given back."""
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

    def _take_tokens(
        self, minute: Minute, prompt_tokens: int, answers: int, answer_tokens: int, *, is_open: bool
    ) -> None:
        least = prompt_tokens + (1 if is_open else answers * answer_tokens)
        if self._tokens + least > minute.limit:
            raise RequestError(
                f"The request may come to {self._tokens + least} tokens, its prompt and the longest answers that it "
                f"asks for, over this key's limit of {minute.limit} a minute.",
                "Shorten the prompt, or lower max_tokens or n.",
            )
        left = minute.left(self._key)
        if least > left:
            self.wait_seconds = minute.wait_seconds(self._key, least)
            raise TooManyRequests(
                f"The request may come to {least} tokens, and this key has {max(0, left)} left of its {minute.limit} "
                "a minute; requests in flight reserve what they may come to.",
                f"Wait {self.wait_seconds} s, or lower max_tokens.",
            )
        most = min(left, prompt_tokens + answer_tokens) if is_open else least
        minute.reserve(self._key, most)
        self._tokens += most


class _Held:
    """Holds an answer back until it is decided whether the request is refused: vLLM begins some before that."""

    def __init__(self, send: Send, allowance: _Allowance) -> None:
        self._send = send
        self._allowance = allowance
        self._messages: list[Message] = []
        self.released = False

    async def send(self, message: Message) -> None:
        """Send on, or hold. What vLLM says of a refusal is dropped."""
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
        """Send what was held."""
        self.released = True
        while self._messages:
            await self._send(self._messages.pop(0))


def _goes_on(message: Message) -> bool:
    return message["type"] == "http.response.start" or bool(message.get("more_body", False))


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
