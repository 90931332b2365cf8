"""Errors in the form of the API that a path belongs to: as a response, and as the last event of a stream."""

import re
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from ..errors import MariTalkError
from .sse_event import event

_LOCAL = ("/", "/generate", "/chat/generate")
_CLOUD = ("/api/chat/inference", "/api/chat/models")
# Anthropic's error types by status: https://docs.claude.com/en/api/errors
_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_MESSAGES = re.compile(r"(/api)?(/v1)?/messages\b")
_RESPONSES = re.compile(r"(/api)?(/v1)?/responses\b")
_OPENAI = re.compile(r"/(api|v1)/")


def error_response(path: str, error: MariTalkError, headers: dict[str, str] | None = None) -> Response:
    """Build the response to a rejected request. A 503 has a Retry-After header, by default 1 second."""
    headers = dict(headers or {})
    if error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", "1")
    return JSONResponse(_error_body(path, error), error.http_status, headers)


def last_events(path: str, error: MariTalkError) -> bytes:
    """The final bytes of a stream that fails with `error`."""
    body = _error_body(path, error)
    if _RESPONSES.match(path):
        body = {"type": "error", "message": str(error), "code": str(error.http_status), "param": None}
    if _OPENAI.match(path) and path not in _CLOUD and not _MESSAGES.match(path) and not _RESPONSES.match(path):
        return (event(body) + "data: [DONE]\n\n").encode()
    return event(body, "error").encode()


def _error_body(path: str, error: MariTalkError) -> dict[str, Any]:
    if path in _LOCAL:
        return {"error": str(error)}
    if path in _CLOUD:
        return {"detail": str(error)}
    if _MESSAGES.match(path):
        kind = _ANTHROPIC.get(error.http_status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": str(error)}}
    if _OPENAI.match(path):
        kind = _vllm_error_type(error.http_status)
        return {"error": {"message": str(error), "type": kind, "param": None, "code": error.http_status}}
    return {"error": str(error), "detail": str(error)}


def _vllm_error_type(status: int) -> str:
    """vLLM's error type for a status, such as `BadRequestError` or `ServiceUnavailableError`."""
    name = "".join(word.capitalize() for word in HTTPStatus(status).phrase.split())
    return name if name.endswith("Error") else f"{name}Error"
