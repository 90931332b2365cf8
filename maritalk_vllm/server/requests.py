"""A number for each request, and a line in the log when it is answered: what it took, and nothing of what it said."""

import logging
import re
import time
import uuid
from dataclasses import asdict

from opentelemetry import propagate, trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..engine.account import Account, current

HEADER = "X-Request-Id"
_TAKEN = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_QUIET = ("/livez", "/readyz", "/metrics", "/")
"""Asked again and again by those who watch."""

# vLLM sets up the loggers below its own name.
_log = logging.getLogger("vllm.maritalk.requests")
_tracer = trace.get_tracer("maritalk_vllm")
"""vLLM sets up where spans go, if it is told an endpoint; otherwise they cost and do nothing."""


class Requests:
    """ASGI middleware around all else. A client's own `X-Request-Id` is taken over, if it is one."""

    def __init__(self, app: ASGIApp, *, logged: bool) -> None:
        self._app = app
        self._logged = logged

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Number one request, and write of it when it is over."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(raw=scope["headers"]).get(HEADER, "")
        number = given if _TAKEN.fullmatch(given) else uuid.uuid4().hex
        headers = MutableHeaders(raw=list(scope["headers"]))
        # For vLLM, which names its own requests after it, and for the engine's process when the gate passes it on.
        headers[HEADER] = number
        scope = {**scope, "headers": headers.raw}
        account, began, status, written = Account(), time.monotonic(), 0, not self._logged

        def write() -> None:
            nonlocal written
            if not written and scope["path"] not in _QUIET:
                seconds = time.monotonic() - began
                # The second is for logs in JSON, the first for people.
                _log.info(
                    "%s", _line(scope, number, status, account, seconds), extra=_data(number, status, account, seconds)
                )
            written = True

        async def send_numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = number
            elif not message.get("more_body", False):
                write()  # before anybody can have read the end of the answer
            await send(message)

        token = current.set(account)
        try:
            with _tracer.start_as_current_span(
                f"{scope['method']} {scope['path']}", propagate.extract(headers), kind=trace.SpanKind.SERVER
            ) as span:
                if span.is_recording():
                    # For vLLM, whose spans of this request are below ours.
                    carrier: dict[str, str] = {}
                    propagate.inject(carrier)
                    headers.update(carrier)
                await self._app(scope, receive, send_numbered)
                span.set_attribute("http.response.status_code", status)
        finally:
            current.reset(token)
            write()


def _data(number: str, status: int, account: Account, seconds: float) -> dict[str, object]:
    return {"request_id": number, "status": status, "seconds": round(seconds, 3), **asdict(account)}


def _line(scope: Scope, number: str, status: int, account: Account, seconds: float) -> str:
    """`POST '/generate' 200 0.152 s, 12+40 tokens, queue 0.001 prompt 0.020 generation 0.130 s [3f2a...]`."""
    line = f"{scope['method']} {scope['path']!r} {status or 'hung up'} {seconds:.3f} s"
    if account.prompt_tokens:
        line += (
            f", {account.prompt_tokens}+{account.completion_tokens} tokens, queue {account.queue_time:.3f} "
            f"prompt {account.prompt_time:.3f} generation {account.generation_time:.3f} s"
        )
    # What a client wrote cannot make it two lines.
    return f"{line} [{number}]" + (f" {account.refusal!r}" if account.refusal else "")
