"""HTTP on one connection, for clients that may be slow on purpose."""

import math
from asyncio import BaseTransport, TimerHandle
from typing import Any

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..api.refusal import refusal
from ..errors import RequestError, Unavailable

HEADER_SECONDS = 20
"""Longest time for a request's head, from the connection, or from its first byte on one that was used before."""

REST_SECONDS = 20
"""Longest time for the rest of a body whose request was answered before: refused, most often."""


_OF_UPGRADES = (b"upgrade", b"http2-settings")
"""Headers, and options of `Connection`, that offer another protocol: HTTP/2 most often."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's own, which waits for ever for a request's head, and for the rest of what it has answered.

    Its parser also stops after the head of a request that offers an upgrade, and loses the body. A server may ignore
    the offer (RFC 9110, section 7.8): here such a request is an ordinary one, unless it opens a WebSocket.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self._timer: TimerHandle | None = None
        # uvicorn's own refusal would be a plain text.
        self._most = math.inf if self.limit_concurrency is None else self.limit_concurrency
        self.limit_concurrency = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Somebody is there."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._begin(HEADER_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Parse what came. After an ignored offer, the parser is given the same head without it, and then the rest."""
        self._unset_keepalive_if_required()
        left = memoryview(data)
        try:
            while left:
                left = self._parse(left)
        except httptools.HttpParserError:
            self.send_400_response("The request is no valid HTTP/1.1.")

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, in JSON as all else is refused; nothing that came is known to be a path."""
        answer = refusal("", RequestError(msg))
        answer.headers["Connection"] = "close"
        head = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in answer.raw_headers)]
        self.transport.write(b"\r\n".join([*head, b"", answer.body]))
        self.transport.close()

    def _parse(self, data: memoryview) -> memoryview:
        """What is left to parse: nothing, or what follows the head at which the parser stopped."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return data[:0]
            if self._ignores_offer():
                head = self._head_without_offer()
                # A new one: after `Connection: close`, the old one parses nothing more.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)
            return data[stop.args[0] :]
        return data[:0]

    def _should_upgrade(self) -> bool:
        """Whether the request opens a WebSocket, and the application may have some."""
        return self.parser.get_method() == b"GET" and super()._should_upgrade()

    def _ignores_offer(self) -> bool:
        # The parser also stops after CONNECT, which has no body: what follows is the next request.
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT" and not self._should_upgrade()

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        head = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join(option for option in options if option.lower() not in _OF_UPGRADES)
            if name not in _OF_UPGRADES:
                head.append(name + b": " + value)
        return b"\r\n".join([*head, b"", b""])

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._begin(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        """The end of a request's head."""
        if self._ignores_offer():
            return
        self._end()
        app = self.app
        if max(len(self.connections), len(self.tasks)) >= self._most:
            self.app = _refuse_one_too_many
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def on_message_complete(self) -> None:
        """The end of a request."""
        if self._ignores_offer():
            return
        self._end()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The end of an answer; its request may go on."""
        super().on_response_complete()
        # With requests sent ahead, the last of them is the cycle here, and its answer has yet to begin.
        if self.cycle is not None and self.cycle.response_complete and self.cycle.more_body:
            self._begin(REST_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._end()
        super().connection_lost(exc)

    def _begin(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self.transport.close)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _refuse_one_too_many(scope: Scope, receive: Receive, send: Send) -> None:
    error = Unavailable("The server has as many connections as it can take.", "Try again in a moment.")
    await refusal(scope["path"], error, {"Connection": "close"})(scope, receive, send)
