"""The HTTP protocol of one connection, with limits against clients that are slow or send endless data."""

from asyncio import BaseTransport, TimerHandle
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..api.disconnect_callbacks import DISCONNECT, DisconnectCallbacks
from ..api.error_responses import error_response
from ..errors import MariTalkError, RequestError
from . import client_limits
from .connections import Connections
from .overhead import Overhead
from .request_head import host_error, set_host_from_target, without_upgrade
from .transport import Transport
from .unread_response import UnreadResponse

_PARSE_BYTES = 4096
"""Bytes parsed at once, except in a body of known length. The overhead of a piece in which a request ends is not
counted, so pieces have to be small."""


class _ParseState(Enum):
    """Which part of a request is expected next. IDLE: no request has started."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the time and size limits of `client_limits`.

    uvicorn waits indefinitely for a request's head, for the rest of a body it has already answered, and for clients
    that read no response. It accepts heads, chunk extensions and trailers of any size, and treats trailers as headers.
    This class ignores trailers, so that nothing after the head is taken for a part of it (RFC 9110, section 6.5.1).

    uvicorn's parser also stops after the head of a request that offers an upgrade, and loses the body. A server may
    ignore the offer (RFC 9110, section 7.8): this class handles such a request like any other.
    """

    server_state: Connections
    transport: Transport  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.limit_concurrency = None  # the acceptor limits connections
        self._parse_state = _ParseState.IDLE
        self._overhead = Overhead()
        self._body_remaining = 0
        self._discarded_bytes = 0
        self._unparsed = memoryview(b"")
        self._had_buffered = False
        self._previous_cycle = self.cycle
        self._error: tuple[MariTalkError, str] | None = None
        self._rejection: bytes | None = None
        self._rejection_sent = False
        self._timer: TimerHandle | None = None
        self._on_disconnect = DisconnectCallbacks()

    def connection_made(self, transport: BaseTransport) -> None:
        """Handle a new connection."""
        super().connection_made(Transport(transport, lambda: self.is_receiving))  # type: ignore[arg-type]
        self._unread = UnreadResponse(self.transport)
        self._update_timeouts()

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle the end of the connection."""
        self._stop_timer()
        self._unread.stop()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self.pipeline:
            # uvicorn notifies only the last request that it has read, which waits for the one in progress.
            self._previous_cycle.disconnected = True
            self._previous_cycle.message_event.set()
        self._unparsed = memoryview(b"")
        self.transport.release()
        self.server_state.mark_busy(self)
        self.server_state.set_buffered(self, 0)
        self.server_state.connection_closed()
        self._on_disconnect.call()

    @property
    def is_receiving(self) -> bool:
        """Whether a request has started and is incomplete."""
        return self._parse_state is not _ParseState.IDLE

    @property
    def is_answering(self) -> bool:
        """Whether the application has a request whose response is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_rejecting(self) -> bool:
        """Whether an error response is written or pending, after which no more requests are read."""
        return self._rejection is not None

    @property
    def has_pipelined(self) -> bool:
        """Whether the client has sent further requests behind the current one."""
        return bool(self.pipeline or self._unparsed)

    @property
    def buffered_bytes(self) -> int:
        """Bytes buffered of requests that are incomplete, or that the application has not read."""
        buffered = len(self._unparsed)
        if self._parse_state is not _ParseState.IDLE:
            buffered += self._overhead.size
            if self._parse_state is _ParseState.BODY:
                buffered += len(self.cycle.body)
        return buffered

    def reject(self, error: MariTalkError) -> None:
        """Send `error` in response to a request that is incomplete or has not started."""
        self._reject(error, self._path())

    def abort(self) -> None:
        """Close the connection immediately."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse received data, or buffer it while earlier requests are being answered."""
        if self._rejection_sent:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > client_limits.LINGER_BYTES:
                self._close()
        elif self._rejection is not None:
            self.flow.pause_reading()
        elif self._unparsed:
            self._unparsed = memoryview(bytes(self._unparsed) + data)
            self.flow.pause_reading()
            self._report_buffered()
        else:
            self._feed(memoryview(data))
            self._update_timeouts()

    def _feed(self, data: memoryview) -> None:
        try:
            while data and self._rejection is None:
                if self.pipeline:
                    self._unparsed = data
                    self.flow.pause_reading()
                    return
                step = data[: max(_PARSE_BYTES, self._body_remaining)]
                parsed = len(step) - len(self._parse(step))
                data = data[parsed:]
                self._overhead.end_step(parsed)
                self._check_overhead()
                if self._error is not None:
                    self._reject(*self._error)
        except httptools.HttpParserError:
            self._reject(RequestError("The request is no valid HTTP/1.1."), "")

    def _parse(self, data: memoryview) -> memoryview:
        """Parse `data` and return the unparsed rest: empty, or what follows the head at which the parser stopped.

        To ignore an upgrade offer, feed a new parser the same head without it.
        """
        self._overhead.begin_step()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if self._ignores_upgrade():
                version = self.parser.get_http_version()
                head = without_upgrade(self.parser.get_method(), self.url, version, self.headers)
                # After `Connection: close`, the old parser parses nothing more.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)
            return data[stop.args[0] :]
        return data[:0]

    def _check_overhead(self) -> None:
        if self._error is None and (error := self._overhead.error) is not None:
            self._error = error, self._path()

    def _path(self) -> str:
        """Return the path of the request; empty if it is not known."""
        if not self._overhead.fields:
            return ""
        try:
            return (httptools.parse_url(self.url).path or b"").decode("ascii", "replace")
        except httptools.HttpParserError:
            return ""

    def _reject(self, error: MariTalkError, path: str) -> None:
        """Respond with `error` once all earlier requests are answered, and read no more requests."""
        response = error_response(path, error, {"Connection": "close"})
        status = f"HTTP/1.1 {error.http_status} {HTTPStatus(error.http_status).phrase}".encode()
        head = [status, *(name + b": " + value for name, value in response.raw_headers)]
        self._rejection = b"\r\n".join([*head, b"", bytes(response.body)])
        if self.is_answering and self._parse_state is _ParseState.BODY:
            # The current cycle is that of the rejected request, whose head was complete.
            if self.pipeline:
                self.pipeline.popleft()
                self.cycle = self._previous_cycle
                return
            if self.cycle.response_started:
                self._close()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        elif self.is_answering:
            return
        self._write_rejection()

    def _write_rejection(self) -> None:
        """Write the error response, and keep reading until the linger timeout."""
        assert self._rejection is not None
        self._rejection_sent = True
        self._unparsed = memoryview(b"")
        self.server_state.mark_awaiting_request(self)
        self.transport.write(self._rejection)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._stop_timer()
        self._start_timer(client_limits.LINGER_SECONDS)
        self.flow.resume_reading()

    def _update_timeouts(self) -> None:
        """After each event, set the timer for what the connection waits for, and report its state and buffer size."""
        self._report_buffered()
        if self._rejection_sent or self.transport.is_closing():
            return
        is_answering = self.is_answering
        if is_answering or self._parse_state is not _ParseState.IDLE:
            self._unset_keepalive_if_required()
        if is_answering:
            self._stop_timer()
            if self._parse_state is _ParseState.BODY and not self.pipeline:
                self.server_state.mark_awaiting_body(self)
            else:
                self.server_state.mark_busy(self)
            return
        self.server_state.mark_awaiting_request(self)
        if self._parse_state is _ParseState.BODY:
            self._start_timer(client_limits.DISCARD_SECONDS)
        elif self._parse_state is _ParseState.HEAD or self.cycle is None:
            self._start_timer(client_limits.HEADER_SECONDS)
        else:
            self._stop_timer()
            if self.timeout_keep_alive_task is None:  # after the rest of a request that was already answered
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def _report_buffered(self) -> None:
        has_buffered = bool(self._unparsed) or self._parse_state is not _ParseState.IDLE
        if has_buffered or self._had_buffered:
            self._had_buffered = has_buffered
            self.server_state.set_buffered(self, self.buffered_bytes)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        self._close()

    def _close(self) -> None:
        """Close the connection, even if the client does not read the data that is still to be sent."""
        self._stop_timer()
        self.transport.close()
        self._unread.watch()

    def _start_timer(self, seconds: float) -> None:
        """Close the connection after `seconds`; a running timer is kept."""
        if self._timer is None:
            self._timer = self.loop.call_later(seconds, self._close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        """Handle a full send buffer: the client reads too slowly."""
        super().pause_writing()
        self._unread.watch()

    def resume_writing(self) -> None:
        """Handle a send buffer that has drained."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread.stop()

    def _should_upgrade(self) -> bool:
        """Return False: the server supports no other protocol."""
        return False

    def _ignores_upgrade(self) -> bool:
        # The parser also stops after CONNECT, which has no body: the data that follows is the next request.
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def on_message_begin(self) -> None:
        """Handle the first byte of a request."""
        super().on_message_begin()
        self._parse_state = _ParseState.HEAD
        self._overhead.begin_request()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header field; a trailer field is counted and ignored."""
        if self._overhead.add_field(name, value) and self._parse_state is _ParseState.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Handle the end of a request's head."""
        self._overhead.add_first_line(self.parser.get_method(), self.url)
        self._check_overhead()
        if self._error is not None or self._ignores_upgrade():
            return
        if (error := host_error(self.parser.get_http_version(), self.headers)) is not None:
            self._error = error, self._path()
        else:
            set_host_from_target(self.url, self.headers)
        self._body_remaining = int(next((value for name, value in self.headers if name == b"content-length"), 0))
        if self._error is None:
            self._parse_state, self._previous_cycle = _ParseState.BODY, self.cycle
            super().on_headers_complete()
            self.scope[DISCONNECT] = self._on_disconnect  # type: ignore[literal-required]

    def on_body(self, body: bytes) -> None:
        """Handle a piece of a request's body."""
        if self._error is None:
            self._overhead.add_body(len(body))
            self._body_remaining -= len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Handle the end of a request."""
        if self._error is not None or self._ignores_upgrade():
            return
        self._parse_state, self._body_remaining = _ParseState.IDLE, 0
        self._overhead.end_request()
        super().on_message_complete()
        if not self.pipeline:
            # uvicorn pauses after 64 KiB of a body until the application waits for another message. Ours does not, and
            # only reading shows a disconnect.
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """Handle the end of a response, whose request may still be incomplete."""
        self.transport.flush()
        super().on_response_complete()
        if self.transport.is_closing():
            self._unread.watch()
            return
        if not self.pipeline:
            if self._unparsed and self._rejection is None:
                buffered, self._unparsed = self._unparsed, memoryview(b"")
                self._feed(buffered)
            if self._rejection is not None and not self.is_answering and not self._rejection_sent:
                self._write_rejection()
        self._update_timeouts()
