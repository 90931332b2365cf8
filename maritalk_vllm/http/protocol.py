"""HTTP on one connection, for clients that may be slow, or send without end, on purpose."""

from asyncio import BaseTransport, TimerHandle
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..api.error_responses import error_response
from ..errors import MariTalkError, RequestError
from . import client_limits
from .connections import Connections
from .overhead import Overhead
from .request_head import host_error, take_host_of_target, without_offer
from .transport import Transport
from .unread_response import UnreadResponse

_STEP_BYTES = 4096
"""So much is parsed at once, but for a body of a known length: a step in which one request ends is not counted."""


class _Part(Enum):
    """What of a request comes next."""

    BEGINNING = auto()
    HEAD = auto()
    BODY = auto()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's own, with limits in time and size (`bounds`).

    uvicorn waits for ever for a request's head, for the rest of what it has answered, and for clients that read no
    answer. Heads, chunks' extensions and trailers may be of any size, and trailers count as headers. Here they are left
    out, so that nothing that comes after the head is taken for a part of it (RFC 9110, section 6.5.1).

    Its parser also stops after the head of a request that offers an upgrade, and loses the body. A server may ignore
    the offer (RFC 9110, section 7.8): here such a request is an ordinary one.
    """

    server_state: Connections
    transport: Transport  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.limit_concurrency = None  # the acceptor counts
        self._part = _Part.BEGINNING
        self._overhead = Overhead()
        self._left = 0
        self._ignored = 0
        self._held = memoryview(b"")
        self._holds = False
        self._cycle_before = self.cycle
        self._refused: tuple[MariTalkError, str] | None = None
        self._refusal: bytes | None = None
        self._has_refused = False
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """A client has connected."""
        super().connection_made(Transport(transport, lambda: self.is_receiving))  # type: ignore[arg-type]
        self._unread = UnreadResponse(self.transport)
        self._settle()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._stop_timer()
        self._unread.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._held = memoryview(b"")
        self.transport.release()
        self.server_state.works(self)
        self.server_state.holds(self, 0)
        self.server_state.connection_closed()

    @property
    def is_receiving(self) -> bool:
        """Whether a request has begun to come, and is not whole."""
        return self._part is not _Part.BEGINNING

    @property
    def is_over(self) -> bool:
        """Whether a refusal is written, or is about to be: no more requests are read."""
        return self._refusal is not None

    @property
    def has_more(self) -> bool:
        """Whether more than one request has come."""
        return bool(self.pipeline or self._held)

    @property
    def held_bytes(self) -> int:
        """How much is kept of requests that are not whole, or that the application has not read."""
        held = len(self._held)
        if self._part is not _Part.BEGINNING:
            held += self._overhead.size
            if self._part is _Part.BODY:
                held += len(self.cycle.body)
        return held

    def refuse(self, error: MariTalkError) -> None:
        """Answer a request that has not come, at least not all of it."""
        self._refuse(error, self._path())

    def give_up(self) -> None:
        """End the connection at once."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came, or hold it while requests before it are answered."""
        if self._has_refused:
            self._ignored += len(data)
            if self._ignored > client_limits.LINGER_BYTES:
                self._close()
        elif self._refusal is not None:
            self.flow.pause_reading()
        elif self._held:
            self._held = memoryview(bytes(self._held) + data)
            self.flow.pause_reading()
            self._report_held()
        else:
            self._read(memoryview(data))
            self._settle()

    def _read(self, data: memoryview) -> None:
        try:
            while data and self._refusal is None:
                if self.pipeline:
                    self._held = data
                    self.flow.pause_reading()
                    return
                step = data[: max(_STEP_BYTES, self._left)]
                parsed = len(step) - len(self._parse(step))
                data = data[parsed:]
                self._overhead.end_step(parsed)
                self._look_at_overhead()
                if self._refused is not None:
                    self._refuse(*self._refused)
        except httptools.HttpParserError:
            self._refuse(RequestError("The request is no valid HTTP/1.1."), "")

    def _parse(self, data: memoryview) -> memoryview:
        """What is left to parse: nothing, or what follows the head at which the parser stopped.

        After an ignored offer, the parser is given the same head without it.
        """
        self._overhead.begin_step()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if self._ignores_offer():
                version = self.parser.get_http_version()
                head = without_offer(self.parser.get_method(), self.url, version, self.headers)
                # A new one: after `Connection: close`, the old one parses nothing more.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)
            return data[stop.args[0] :]
        return data[:0]

    def _look_at_overhead(self) -> None:
        if self._refused is None and (error := self._overhead.error) is not None:
            self._refused = error, self._path()

    def _path(self) -> str:
        """The request's, or nothing if it is not known."""
        if not self._overhead.fields:
            return ""
        try:
            return (httptools.parse_url(self.url).path or b"").decode("ascii", "replace")
        except httptools.HttpParserError:
            return ""

    def _refuse(self, error: MariTalkError, path: str) -> None:
        """Answer with this, after all that came before is answered, and read no more requests."""
        answer = error_response(path, error, {"Connection": "close"})
        status = f"HTTP/1.1 {error.http_status} {HTTPStatus(error.http_status).phrase}".encode()
        head = [status, *(name + b": " + value for name, value in answer.raw_headers)]
        self._refusal = b"\r\n".join([*head, b"", bytes(answer.body)])
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
        self._write_refusal()

    def _write_refusal(self) -> None:
        """Write it, and go on reading for a moment."""
        assert self._refusal is not None
        self._has_refused = True
        self._held = memoryview(b"")
        self.server_state.waits_for_request(self)
        self.transport.write(self._refusal)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_timer()
        self._begin_timer(client_limits.LINGER_SECONDS)
        self.flow.resume_reading()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _settle(self) -> None:
        """After anything has happened: what is waited for, and for how long; and what is kept meanwhile."""
        self._report_held()
        if self._has_refused or self.transport.is_closing():
            return
        is_answering = self._is_answering
        if is_answering or self._part is not _Part.BEGINNING:
            self._unset_keepalive_if_required()
        if is_answering:
            self._stop_timer()
            if self._part is _Part.BODY and not self.pipeline:
                self.server_state.waits_for_body(self)
            else:
                self.server_state.works(self)
            return
        self.server_state.waits_for_request(self)
        if self._part is _Part.BODY:
            self._begin_timer(client_limits.REST_SECONDS)
        elif self._part is _Part.HEAD or self.cycle is None:
            self._begin_timer(client_limits.HEADER_SECONDS)
        else:
            self._stop_timer()
            if self.timeout_keep_alive_task is None:  # after the rest of a request that was answered before
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def _report_held(self) -> None:
        holds = bool(self._held) or self._part is not _Part.BEGINNING
        if holds or self._holds:
            self._holds = holds
            self.server_state.holds(self, self.held_bytes)

    def timeout_keep_alive_handler(self) -> None:
        """No further request has begun."""
        self._close()

    def _close(self) -> None:
        """Close, even if the client takes nothing of what is still to be sent."""
        self._stop_timer()
        self.transport.close()
        self._unread.watch()

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
        self._unread.watch()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread.stop()

    def _should_upgrade(self) -> bool:
        """Never: nothing here has another protocol."""
        return False

    def _ignores_offer(self) -> bool:
        # The parser also stops after CONNECT, which has no body: what follows is the next request.
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._part = _Part.HEAD
        self._overhead.begin_request()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or one of a trailer, which is ignored."""
        if self._overhead.add_field(name, value) and self._part is _Part.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The end of a request's head."""
        self._overhead.add_first_line(self.parser.get_method(), self.url)
        self._look_at_overhead()
        if self._refused is not None or self._ignores_offer():
            return
        if (error := host_error(self.parser.get_http_version(), self.headers)) is not None:
            self._refused = error, self._path()
        else:
            take_host_of_target(self.url, self.headers)
        self._left = int(next((value for name, value in self.headers if name == b"content-length"), 0))
        if self._refused is None:
            self._part, self._cycle_before = _Part.BODY, self.cycle
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        if self._refused is None:
            self._overhead.add_body(len(body))
            self._left -= len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        if self._refused is not None or self._ignores_offer():
            return
        self._part, self._left = _Part.BEGINNING, 0
        self._overhead.end_request()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The end of an answer; its request may go on."""
        self.transport.flush()
        super().on_response_complete()
        if self.transport.is_closing():
            self._unread.watch()
            return
        if not self.pipeline:
            if self._held and self._refusal is None:
                held, self._held = self._held, memoryview(b"")
                self._read(held)
            if self._refusal is not None and not self._is_answering and not self._has_refused:
                self._write_refusal()
        self._settle()
