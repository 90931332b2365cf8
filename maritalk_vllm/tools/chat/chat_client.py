"""Asks one server, by MariTalk Local's API."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from ...errors import MariTalkError, RequestError, Unauthorized, Unavailable
from ...language import say
from .answer import Answer
from .conversation import Message
from .server_address import ServerAddress
from .sse_parser import events

_CONNECT_SECONDS = 10
_SILENCE_SECONDS = 120
"""Servers that stream send something every few seconds; one that answers whole may take its time."""

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 5
"""How long a server that was there may be away: whose engine has died answers again after an instant."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens some messages are, and how many the context has for them and the answer together."""

    tokens: int
    context: int


class ChatClient:
    """One server's client; to be entered."""

    def __init__(self, address: ServerAddress) -> None:
        """Raises UsageError for an address or a certificate that cannot be used."""
        self._url = address.url
        self._client = httpx.Client(
            base_url=address.checked(),
            # As bytes, since a key may be more than ASCII.
            headers={b"Authorization": f"Bearer {address.key}".encode()} if address.key else {},
            timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
            verify=address.trusted(),
            # A proxy of the environment is for other machines.
            trust_env=not address.is_here,
        )
        self._seen = -float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def wait(self, tell: Callable[[], None]) -> bool:
        """Until the server does not load any more. `tell` is called if that takes a while; returns whether it did.

        Raises Unavailable where none answers.
        """
        told = False
        while self._is_loading():
            if not told:
                tell()
                told = True
            time.sleep(_LOOK_SECONDS)
        return told

    def answer(self, messages: list[Message], fields: dict[str, Any]) -> Generator[str | Answer, None, None]:
        """The next answer of a conversation: an empty text when it begins, its pieces as they come, and last the whole.

        Raises RequestError for what cannot be answered as it was asked (400), and Unavailable where the server takes
        nothing now, takes nothing from us, breaks off or is not there.
        """
        asked = {**fields, "messages": messages, "stream": True, "return_usage": True}
        with self._border(), self._client.stream("POST", "/chat/generate", json=asked) as reply:
            self._seen = time.monotonic()
            if not reply.is_success:
                reply.read()
                raise _refused(reply)
            yield ""
            if not reply.headers.get("content-type", "").startswith("text/event-stream"):
                # MariTalk Local itself had no streams.
                whole = Answer.read(_content(reply))
                yield from (whole.text, whole)
                return
            for kind, content in events(reply.iter_lines()):
                if kind == "end":
                    yield Answer.read(content)
                    return
                if kind == "error":
                    raise Unavailable(str(content.get("error", content)))
                if text := str(content.get("text", "")):
                    yield text
            raise Unavailable(say("The answer broke off."), say("Ask again."))

    def count(self, messages: list[Message]) -> Room | None:
        """How much of the context these messages take; None where the server does not say."""
        with self._border():
            reply = self._client.post("/tokenize", json={"messages": messages})
            if not reply.is_success:
                return None
            told = _content(reply)
            return Room(told["count"], told["max_model_len"])

    def _is_loading(self) -> bool:
        while True:
            try:
                with self._border():
                    reply = self._client.get("/")
                self._seen = time.monotonic()
                break
            except Unavailable:
                if time.monotonic() > self._seen + _PATIENCE_SECONDS:
                    raise
                time.sleep(_LOOK_SECONDS)
        with contextlib.suppress(ValueError, AttributeError):
            return bool(reply.json().get("status") == "loading")
        return False  # whatever this is, the question's own answer says more

    @contextlib.contextmanager
    def _border(self) -> Iterator[None]:
        """Turn what httpx and odd servers do into sentences."""
        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                told = say("The certificate of {url} is not trusted: {reason}.", url=self._url, reason=error)
                raise Unavailable(told, say("Name whoever signed it with --cacert FILE.")) from error
            raise self._absent() from error
        except httpx.ConnectTimeout as error:
            raise self._absent() from error
        except httpx.ReadTimeout as error:
            told = say("{url} was silent for {seconds} s.", url=self._url, seconds=_SILENCE_SECONDS)
            raise Unavailable(told, say("Ask again.")) from error
        except httpx.TransportError as error:
            told = say("The connection to {url} broke off.", url=self._url)
            raise Unavailable(told, say("Ask again.")) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unavailable(say("{url} does not answer as a MariTalk server does.", url=self._url)) from error

    def _absent(self) -> Unavailable:
        return Unavailable(
            say("No server answers at {url}.", url=self._url),
            say("Start one with `maritalk-serve`, or give the address of another with --url."),
        )


def _refused(reply: httpx.Response) -> MariTalkError:
    """The server's own sentence."""
    sentence = ""
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        told = reply.json()
        sentence = str(told.get("error") or told.get("detail") or "")
    if not sentence:
        sentence = say("The server answers {status}.", status=f"{reply.status_code} {reply.reason_phrase}".strip())
    if reply.status_code == RequestError.http_status:
        return RequestError(sentence)
    hint = say("Give it with --api-key or MARITALK_API_KEY.") if reply.status_code == Unauthorized.http_status else ""
    return Unavailable(sentence, hint)


def _content(reply: httpx.Response) -> dict[str, Any]:
    reply.read()
    content: dict[str, Any] = reply.json()
    return content
