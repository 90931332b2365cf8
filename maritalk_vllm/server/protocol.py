"""HTTP on one connection, for clients that may be slow, or send without end, on purpose."""

from asyncio import BaseTransport, TimerHandle
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..api.refusal import refusal
from ..errors import HeadTooLarge, MariTalkError, RequestError
from . import bounds
from .connections import Connections
from .transport import Transport

_STEP_BYTES = 4096
"""So much is parsed at once, but for a body of a known length: a step in which one request ends is not counted."""

_OF_UPGRADES = (b"upgrade", b"http2-settings")
"""Headers, and options of `Connection`, that offer another protocol: HTTP/2 most often."""


class _Part(Enum):
    """What of a request comes next."""

    BEGINNING = auto()
    HEAD = auto()
    BODY = auto()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's own, with an end to its patience, in time and in bytes (`bounds`).

    uvicorn waits for ever for a request's head, for the rest of what it has answered, and for whoever reads no answer.
    Heads, chunks' extensions and trailers may be of any size, and trailers count as headers. Here they are left out, so
    that nothing that comes after the head is taken for a part of it (RFC 9110, section 6.5.1).

    Its parser also stops after the head of a request that offers an upgrade, and loses the body. A server may ignore
    the offer (RFC 9110, section 7.8): here such a request is an ordinary one.
    """

    server_state: Connections
    transport: Transport  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.limit_concurrency = None  # the acceptor counts
        self._part = _Part.BEGINNING
        self._excess = self._head = self._fields = self._body = 0
        self._left = 0
        self._is_whole = self._is_over = False
        self._held = memoryview(b"")
        self._cycle_before = self.cycle
        self._refused: tuple[MariTalkError, str] | None = None
        self._last_word: bytes | None = None
        self._timer: TimerHandle | None = None
        self._writing: TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(Transport(transport, lambda: self.is_receiving))  # type: ignore[arg-type]
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._stop_timer()
        self._stop_watching()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._held = memoryview(b"")
        self.transport.release()
        self.server_state.works(self)
        self.server_state.left()

    @property
    def is_receiving(self) -> bool:
        """Whether a request has begun to come, and is not whole."""
        return self._part is not _Part.BEGINNING

    def give_up(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came, or hold it while requests before it are answered."""
        if self._is_over:
            self._excess += len(data)
            if self._excess > bounds.LINGER_BYTES:
                self._close()
        elif self._last_word is not None:
            self.flow.pause_reading()
        elif self._held:
            self._held = memoryview(bytes(self._held) + data)
            self.flow.pause_reading()
        else:
            self._read(memoryview(data))
            self._settle()

    def _read(self, data: memoryview) -> None:
        try:
            while data and not self._is_over and self._last_word is None:
                if self.pipeline:
                    self._held = data
                    self.flow.pause_reading()
                    return
                step = data[: max(_STEP_BYTES, self._left)]
                parsed = len(step) - len(self._parse(step))
                data = data[parsed:]
                self._count(parsed)
        except httptools.HttpParserError:
            self._refuse(RequestError("The request is no valid HTTP/1.1."), "")

    def _parse(self, data: memoryview) -> memoryview:
        """What is left to parse: nothing, or what follows the head at which the parser stopped.

        After an ignored offer, the parser is given the same head without it.
        """
        self._body, self._is_whole = 0, False
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if self._ignores_offer():
                head = self._head_without_offer()
                # A new one: after `Connection: close`, the old one parses nothing more.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)
            return data[stop.args[0] :]
        return data[:0]

    def _count(self, parsed: int) -> None:
        """Of what was parsed, all that is not body. Refuses what is too much of it."""
        beside_body = parsed - (1 + bounds.OVERHEAD_PER_BYTE) * self._body
        self._excess = 0 if self._is_whole else max(0, self._excess + beside_body)
        if self._refused is None:
            self._refused = self._over_limit()
        if self._refused is not None:
            self._refuse(*self._refused)

    def _over_limit(self) -> tuple[MariTalkError, str] | None:
        """What there is too much of, and in a request to which path."""
        if self._fields > bounds.HEAD_FIELDS:
            told, hint = f"{bounds.HEAD_FIELDS} header fields", "Send fewer."
        elif max(self._head, self._excess) > bounds.HEAD_BYTES:
            told = f"{bounds.HEAD_BYTES // 1024} KiB of headers and other bytes beside its body"
            hint = "Send shorter headers."
        else:
            return None
        return HeadTooLarge(f"The request has more than {told}, this server's limit.", hint), self._path()

    def _path(self) -> str:
        """The request's, or nothing if it is not known."""
        try:
            return (httptools.parse_url(self.url).path or b"").decode("ascii", "replace") if self._fields else ""
        except httptools.HttpParserError:
            return ""

    def _refuse(self, error: MariTalkError, path: str) -> None:
        """Answer with this, after all that came before is answered, and read no more requests."""
        answer = refusal(path, error, {"Connection": "close"})
        status = f"HTTP/1.1 {error.http_status} {HTTPStatus(error.http_status).phrase}".encode()
        head = [status, *(name + b": " + value for name, value in answer.raw_headers)]
        self._last_word = b"\r\n".join([*head, b"", bytes(answer.body)])
        if self._is_answering and self._part is _Part.BODY:
            # Of the request that is refused: the application has seen its head.
            if self.pipeline:
                self.pipeline.popleft()
                self.cycle = self._cycle_before
                return
            if self.cycle.response_started:
                self._close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        elif self._is_answering:
            return
        self._say_last_word()

    def _say_last_word(self) -> None:
        """Say why, and go on reading for a moment."""
        assert self._last_word is not None
        self._is_over, self._excess = True, 0
        self._held = memoryview(b"")
        self.server_state.waits_for_request(self)
        self.transport.write(self._last_word)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_timer()
        self._begin_timer(bounds.LINGER_SECONDS)
        self.flow.resume_reading()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _settle(self) -> None:
        """After anything has happened: what is waited for, and for how long."""
        if self._is_over or self.transport.is_closing():
            return
        if self._is_answering or self._part is not _Part.BEGINNING:
            self._unset_keepalive_if_required()
        if self._is_answering:
            self._stop_timer()
            if self._part is _Part.BODY and not self.pipeline:
                self.server_state.waits_for_body(self)
            else:
                self.server_state.works(self)
            return
        self.server_state.waits_for_request(self)
        if self._part is _Part.BODY:
            self._begin_timer(bounds.REST_SECONDS)
        elif self._part is _Part.HEAD or self.cycle is None:
            self._begin_timer(bounds.HEADER_SECONDS)
        else:
            self._stop_timer()
            if self.timeout_keep_alive_task is None:  # after the rest of a request that was answered before
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def timeout_keep_alive_handler(self) -> None:
        """No further request has begun."""
        self._close()

    def _close(self) -> None:
        """Close, even if the client takes nothing of what is still to be sent."""
        self._stop_timer()
        self.transport.close()
        self._watch_writing()

    def _begin_timer(self, seconds: float) -> None:
        """Close after so many seconds, or as it was planned before."""
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        """More waits to be sent than the client takes."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop_watching()

    def _watch_writing(self) -> None:
        """End the connection when the client takes nothing of what waits for it."""
        if self._writing is None and (unread := self.transport.get_write_buffer_size()):
            self._unread = unread
            self._writing = self.loop.call_later(bounds.UNREAD_SECONDS, self._look_at_writing)

    def _look_at_writing(self) -> None:
        self._writing = None
        if self.transport.get_write_buffer_size() >= self._unread:
            self.transport.abort()
        else:
            self._watch_writing()

    def _stop_watching(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _should_upgrade(self) -> bool:
        """Never: nothing here has another protocol."""
        return False

    def _ignores_offer(self) -> bool:
        # The parser also stops after CONNECT, which has no body: what follows is the next request.
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

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
        self._part, self._fields, self._head = _Part.HEAD, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or one of a trailer, which nobody asked for."""
        self._fields += 1
        self._head += len(name) + len(value) + len(": \r\n")
        if self._part is _Part.HEAD and self._fields <= bounds.HEAD_FIELDS:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The end of a request's head."""
        first_line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n")
        self._head += first_line
        if self._refused is None:
            self._refused = self._over_limit()
        if self._refused is not None or self._ignores_offer():
            return
        self._refused = self._check_host()
        self._left = int(next((value for name, value in self.headers if name == b"content-length"), 0))
        if self._refused is None:
            self._part, self._cycle_before = _Part.BODY, self.cycle
            super().on_headers_complete()

    def _check_host(self) -> tuple[MariTalkError, str] | None:
        """Exactly one says by which name the server is asked (RFC 9112, section 3.2)."""
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1:
            return RequestError("The request has several Host headers.", "Send one."), self._path()
        if not hosts and self.parser.get_http_version() != "1.0":
            return RequestError("The request has no Host header, which HTTP/1.1 demands.", "Send one."), self._path()
        if not self.url.startswith(b"/") and b"://" in self.url:
            # A whole address says which host is meant, whatever `Host` does.
            address = httptools.parse_url(self.url)
            host = b"[%b]" % address.host if b":" in address.host else address.host
            host += b":%d" % address.port if address.port else b""
            self.headers[:] = [header for header in self.headers if header[0] != b"host"]
            self.headers.append((b"host", host))
        return None

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if self._refused is None:
            self._body += len(body)
            self._left -= len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        if self._refused is not None or self._ignores_offer():
            return
        self._part, self._is_whole, self._left = _Part.BEGINNING, True, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The end of an answer; its request may go on."""
        self.transport.flush()
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_writing()
            return
        if not self.pipeline:
            if self._held and self._last_word is None:
                held, self._held = self._held, memoryview(b"")
                self._read(held)
            if self._last_word is not None and not self._is_answering and not self._is_over:
                self._say_last_word()
        self._settle()
