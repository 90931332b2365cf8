"""A number for each request, a line in the log and a count when it is answered: what it took, not what it said."""

import logging
import re
import time
import uuid
from dataclasses import asdict

from opentelemetry import propagate, trace
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...api.rejection_log import log_exception
from ...engine.request_usage import RequestUsage, UsageTotals, current
from .request_metrics import RequestMetrics

_HEADER = b"x-request-id"
_TAKEN = re.compile(rb"[\w.:-]{1,128}")
_QUIET = ("/livez", "/readyz", "/metrics", "/")
"""Asked again and again by those who watch."""

# vLLM sets up the loggers below its own name.
_log = logging.getLogger("vllm.maritalk.requests")
_tracer = trace.get_tracer("maritalk_vllm")


class RequestLog:
    """ASGI middleware around all else. A client's own `X-Request-Id` is taken over, if it is one."""

    def __init__(self, app: ASGIApp, tally: RequestMetrics, *, logged: bool, traced: bool) -> None:
        """`traced`: vLLM was told where spans go, and each request is one."""
        self._app = app
        self._tally = tally
        self._logged = logged
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Number one request, and write of it when it is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        number = given if _TAKEN.fullmatch(given) else uuid.uuid4().hex.encode()
        if number is not given:
            # For vLLM, which names its own requests after it, and for the engine's process when the gate passes it on.
            others = [header for header in scope["headers"] if header[0] != _HEADER]
            scope = {**scope, "headers": [*others, (_HEADER, number)]}
        logged = self._logged and scope["path"] not in _QUIET
        record = _Record(scope, number, send, self._tally, logged=logged)
        token = current.set(record.account)
        try:
            if self._traced:
                await self._trace(record, receive)
            else:
                await self._app(scope, receive, record.send)
        except Exception:
            if record.status:
                raise
            await error_response(scope["path"], log_exception(scope))(scope, receive, record.send)
        finally:
            current.reset(token)
            record.write()

    async def _trace(self, record: "_Record", receive: Receive) -> None:
        headers = MutableHeaders(raw=list(record.scope["headers"]))
        name = f"{record.scope['method']} {record.scope['path']}"
        parent = propagate.extract(headers)
        with _tracer.start_as_current_span(name, parent, kind=trace.SpanKind.SERVER) as span:
            # For vLLM, whose spans of this request are below ours.
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            headers.update(carrier)
            # Those behind leave in it what the tally asks for.
            record.scope = {**record.scope, "headers": headers.raw}
            await self._app(record.scope, receive, record.send)
            span.set_attribute("http.response.status_code", record.status)


class _Record:
    """One request, and what becomes of it: written once, before anybody can have read the end of its answer."""

    def __init__(self, scope: Scope, number: bytes, send: Send, tally: RequestMetrics, *, logged: bool) -> None:
        self.scope = scope
        self.account = RequestUsage()
        self.status = 0
        self._number = number
        self._send = send
        self._tally = tally
        self._logged = logged
        self._written = False
        self._began = time.monotonic()
        self._first_byte: float | None = None

    async def send(self, message: Message) -> None:
        """Send on a part of the answer, with the request's number in its head."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [header for header in message.get("headers", ()) if header[0] != _HEADER]
            message = {**message, "headers": [*headers, (_HEADER, self._number)]}
        else:
            if self._first_byte is None and message.get("body"):
                self._first_byte = time.monotonic() - self._began
            if not message.get("more_body", False):
                self.write()
        await self._send(message)

    def write(self) -> None:
        """The count and the line in the log, if they are not there yet."""
        if self._written:
            return
        self._written = True
        seconds, number = time.monotonic() - self._began, self._number.decode()
        figures = self.account.close()
        self._tally.add(self.scope, self.status, figures, seconds, self._first_byte)
        if not self._logged:
            return
        # The second is for logs in JSON, the first for people.
        refusal = self.account.rejection
        line = _line(self.scope, number, self.status, figures, seconds) + (f" {refusal!r}" if refusal else "")
        told = {"request_id": number, "status": self.status, "seconds": round(seconds, 3), "refusal": refusal}
        _log.info("%s", line, extra={**told, **asdict(figures)})


def _line(scope: Scope, number: str, status: int, figures: UsageTotals, seconds: float) -> str:
    """`POST '/generate' 200 0.152 s, 12+40 tokens, queue 0.001 prompt 0.020 generation 0.130 s [3f2a...]`."""
    line = f"{scope['method']} {scope['path']!r} {status or 'hung up'} {seconds:.3f} s"
    if figures.prompt_tokens:
        line += (
            f", {figures.prompt_tokens}+{figures.completion_tokens} tokens, queue {figures.queue_time:.3f} "
            f"prompt {figures.prompt_time:.3f} generation {figures.generation_time:.3f} s"
        )
    # What a client wrote cannot make it two lines.
    return f"{line} [{number}]"
