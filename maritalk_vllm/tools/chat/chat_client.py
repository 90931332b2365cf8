"""HTTP client of the chat, for MariTalk Local's API."""

import contextlib
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from ...errors import MariTalkError, RequestError, Unauthorized, Unavailable
from ...i18n.rendering import say
from ..server_address import ServerAddress
from ..server_connection import CONNECT_SECONDS, connect, mapped_errors
from ..server_errors import localized_error
from .answer import Answer
from .conversation import Message
from .sse_parser import events

MARITALK_MODELS = ("small", "medium")
"""Names under which our server serves MariTalk Small and Medium."""

_DEMO = "demo"
"""The demo model, which is not MariTalk, by its notice alone."""

_NOTICE_SECONDS = 2
"""Timeout for what the chat can do without: the first question then reports what is wrong."""

_POLL_SECONDS = 0.5
_RECONNECT_SECONDS = 5
"""How long a server that has answered may refuse connections: after an engine's death it soon listens again."""


@dataclass(frozen=True, slots=True)
class ContextUsage:
    """Tokens of some messages, and the context length, which includes the answer."""

    tokens: int
    max_model_len: int


class ChatClient:
    """Client of one server; a context manager."""

    def __init__(self, address: ServerAddress) -> None:
        """Raises UsageError for an address or a certificate that cannot be used."""
        self._address = address
        self._client = connect(address)
        self._last_response = -float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def wait_until_loaded(self, on_loading: Callable[[], None]) -> bool:
        """Wait while the server is loading, and return whether it was. Calls `on_loading` once if so.

        Raises Unavailable where no server answers.
        """
        was_loading = False
        while self._is_loading():
            if not was_loading:
                on_loading()
                was_loading = True
            time.sleep(_POLL_SECONDS)
        return was_loading

    def check_reachable(self) -> None:
        """Raise Unavailable if no server answers. One that is silent, or that answers with an error, is there."""
        try:
            with self._mapped_errors():
                self._client.get("/", timeout=httpx.Timeout(_NOTICE_SECONDS, connect=CONNECT_SECONDS))
        except Unavailable as error:
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                raise

    @property
    def url(self) -> str:
        """The server's address."""
        return self._address.url

    def model_name(self) -> str:
        """The name of the served model; empty while it loads, and where the server does not say."""
        with contextlib.suppress(httpx.HTTPError, ValueError, AttributeError, LookupError, TypeError):
            return str(self._client.get("/v1/models", timeout=_NOTICE_SECONDS).json()["data"][0]["id"])
        return ""

    def answer_name(self) -> str:
        """The name to show before the model's answers: its own, or MariTalk for those models and an unknown one."""
        name = self.model_name() or (_DEMO if self.demo_notice() else "")
        return "MariTalk" if not name or name in MARITALK_MODELS else name

    def demo_notice(self) -> str:
        """Our server's hint about the demo model if it serves that; empty for any other, or if none answers."""
        with contextlib.suppress(httpx.HTTPError, ValueError, AttributeError):
            return str(self._client.get("/chat/server.json", timeout=_NOTICE_SECONDS).json().get("demo") or "")
        return ""

    def answer(self, messages: list[Message], fields: dict[str, Any]) -> Generator[str | Answer, None, None]:
        """Stream the next answer of a conversation: an empty string when it starts, its pieces, then the `Answer`.

        Raises RequestError for an invalid request (400), and Unavailable for any other error response, a broken stream,
        or no response.
        """
        payload = {**fields, "messages": messages, "stream": True, "return_usage": True}
        with self._mapped_errors(), self._client.stream("POST", "/chat/generate", json=payload) as response:
            self._last_response = time.monotonic()
            if not response.is_success:
                response.read()
                raise _error_of(response)
            yield ""
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                # MariTalk Local itself does not stream.
                whole = Answer.from_json(_content(response))
                yield from (whole.text, whole)
                return
            for kind, content in events(response.iter_lines()):
                if kind == "end":
                    yield Answer.from_json(content)
                    return
                if kind == "error":
                    raise Unavailable(localized_error(str(content.get("error", content))))
                if text := str(content.get("text", "")):
                    yield text
            raise Unavailable(say("The answer broke off."), say("Ask again."))

    def count(self, messages: list[Message]) -> ContextUsage | None:
        """Count the tokens of these messages; None where the server cannot."""
        with self._mapped_errors():
            response = self._client.post("/tokenize", json={"messages": messages})
            if not response.is_success:
                return None
            content = _content(response)
            return ContextUsage(content["count"], content["max_model_len"])

    def _is_loading(self) -> bool:
        while True:
            try:
                with self._mapped_errors():
                    response = self._client.get("/")
                self._last_response = time.monotonic()
                break
            except Unavailable:
                if time.monotonic() > self._last_response + _RECONNECT_SECONDS:
                    raise
                time.sleep(_POLL_SECONDS)
        with contextlib.suppress(ValueError, AttributeError):
            return bool(response.json().get("status") == "loading")
        return False  # some other server: the error response to a question explains more

    def _mapped_errors(self) -> contextlib.AbstractContextManager[None]:
        return mapped_errors(self._address, say("Ask again."))


def _error_of(response: httpx.Response) -> MariTalkError:
    """The error for a failed response, with the server's own message."""
    sentence = ""
    with contextlib.suppress(ValueError, AttributeError, TypeError):  # no JSON, or no object: another server's
        content = response.json()
        sentence = localized_error(str(content.get("error") or content.get("detail") or ""))
    if not sentence:
        sentence = say(
            "The server answers {status}.", status=f"{response.status_code} {response.reason_phrase}".strip()
        )
    if response.status_code == RequestError.http_status:
        return RequestError(sentence)
    hint = (
        say("Give it with --api-key or MARITALK_API_KEY.") if response.status_code == Unauthorized.http_status else ""
    )
    return Unavailable(sentence, hint)


def _content(response: httpx.Response) -> dict[str, Any]:
    response.read()
    content: dict[str, Any] = response.json()
    return content
