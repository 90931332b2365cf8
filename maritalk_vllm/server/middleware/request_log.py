"""Request ids, access log, request metrics and trace spans. Contents of requests and responses are not logged."""

import logging
import re
import uuid
from collections.abc import Awaitable
from dataclasses import fields

from opentelemetry import propagate, trace
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...api.error_responses import error_response
from ...api.rejection_log import log_exception
from ...engine.request_context import CONTEXT, RequestContext, current
from ...engine.request_usage import UsageTotals
from .request_metrics import RequestMetrics

_HEADER = b"x-request-id"
_VALID_ID = re.compile(rb"[\w.:-]{1,128}")
_QUIET = ("/livez", "/readyz", "/metrics", "/")
"""Paths that monitoring polls; not logged."""

# vLLM sets up the loggers below its own name.
_log = logging.getLogger("vllm.maritalk.requests")
_tracer = trace.get_tracer("maritalk_vllm")

_FIGURES = tuple(field.name for field in fields(UsageTotals))


class RequestLog:
    """ASGI middleware around all others but `RootPath` and the page. A client's own `X-Request-Id` is kept if valid."""

    def __init__(self, app: ASGIApp, request_metrics: RequestMetrics, *, logged: bool, traced: bool) -> None:
        """`traced`: vLLM has an endpoint for spans, and each request gets one."""
        self._app = app
        self._request_metrics = request_metrics
        self._logged = logged
        self._traced = traced

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Give one request its id, and log and count it when it ends."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client_id = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        request_id = client_id if _VALID_ID.fullmatch(client_id) else uuid.uuid4().hex.encode()
        if request_id is not client_id:
            # vLLM names its own requests after this header, and the loading app forwards it to the API process.
            others = [header for header in scope["headers"] if header[0] != _HEADER]
            scope = {**scope, "headers": [*others, (_HEADER, request_id)]}
        scope[CONTEXT] = context = RequestContext(request_id.decode())
        logged = self._logged and scope["path"] not in _QUIET
        record = _Record(scope, context, send, self._request_metrics, logged=logged)
        token = current.set(context)
        try:
            if self._traced:
                await self._trace(record, receive)
            else:
                await self._app(scope, receive, record.send)
        except Exception:
            if context.status:
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
            # vLLM makes its spans of this request children of this one.
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            headers.update(carrier)
            await self._app({**record.scope, "headers": headers.raw}, receive, record.send)
            span.set_attribute("http.response.status_code", record.context.status)


class _Record:
    """One request and its outcome. It is written once, before the client can have read the end of the response."""

    def __init__(
        self, scope: Scope, context: RequestContext, send: Send, request_metrics: RequestMetrics, *, logged: bool
    ) -> None:
        self.scope = scope
        self.context = context
        self._send = send
        self._request_metrics = request_metrics
        self._logged = logged
        self._written = False

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message of the response, with the request id in its headers."""
        context = self.context
        if message["type"] == "http.response.start":
            context.status = message["status"]
            headers = [header for header in message.get("headers", ()) if header[0] != _HEADER]
            message = {**message, "headers": [*headers, (_HEADER, context.request_id.encode())]}
        else:
            if context.first_byte_seconds is None and message.get("body"):
                context.first_byte_seconds = context.seconds
            if not message.get("more_body", False):
                self.write()
        return self._send(message)

    def write(self) -> None:
        """Count and log the request, unless that is done already."""
        if self._written:
            return
        self._written = True
        context, seconds = self.context, self.context.seconds
        figures = context.usage.close()
        self._request_metrics.add(self.scope, context, figures, seconds)
        if not self._logged:
            return
        # The line is for text logs, the fields are for JSON logs.
        extra = {
            "request_id": context.request_id,
            "status": context.status,
            "seconds": round(seconds, 3),
            "refusal": context.rejection or self._request_metrics.reason(context),
            "key": context.key_name,
            **{name: getattr(figures, name) for name in _FIGURES},
        }
        _log.info("%s", _line(self.scope, context, figures, seconds), extra=extra)


def _line(scope: Scope, context: RequestContext, figures: UsageTotals, seconds: float) -> str:
    """Format `POST '/generate' 200 0.152 s, 12+40 tokens, queue 0.001 prompt 0.020 generation 0.130 s [3f2a...]`."""
    line = f"{scope['method']} {scope['path']!r} {context.status or 'hung up'} {seconds:.3f} s"
    if figures.prompt_tokens:
        line += (
            f", {figures.prompt_tokens}+{figures.completion_tokens} tokens, queue {figures.queue_time:.3f} "
            f"prompt {figures.prompt_time:.3f} generation {figures.generation_time:.3f} s"
        )
    if figures.lost_time:
        line += f", lost {figures.lost_time:.3f} s"
    # The path is a repr and the id is validated, so a client cannot insert a line break.
    line += f" [{context.request_id}]"
    return f"{line} {context.rejection!r}" if context.rejection else line
