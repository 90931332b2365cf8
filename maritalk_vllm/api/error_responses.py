"""The renderer of errors: each becomes the response, or the last event of a stream, in the form of a client's API."""

import re
from collections.abc import Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from ..errors import MariTalkError, Unavailable
from .media_types import JSON
from .sse_event import event


class ErrorShape(Enum):
    """The forms of errors. VLLM_MESSAGES is what vLLM answers on the path of Anthropic's API to an invalid request.

    RESPONSES differs from OPENAI in streams alone. BOTH_KEYS, for all other paths, has the keys of LOCAL and CLOUD.
    """

    LOCAL = auto()
    CLOUD = auto()
    OPENAI = auto()
    RESPONSES = auto()
    ANTHROPIC = auto()
    VLLM_MESSAGES = auto()
    BOTH_KEYS = auto()


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
_RESPONSES = re.compile(r"/(api|v1|api/v1)/responses\b")
_OPENAI = re.compile(r"/(api|v1)/")

UNAVAILABLE_HEADERS = {"Retry-After": str(Unavailable.retry_after_seconds)}
"""Headers of a 503 that is not an internal error, and after which a client may retry (RFC 9110, section 10.2.3)."""


def shape_of(path: str) -> ErrorShape:
    """Return the form of errors on a path, which may be any that a client sends."""
    if path in _LOCAL:
        return ErrorShape.LOCAL
    if path in _CLOUD:
        return ErrorShape.CLOUD
    if _MESSAGES.match(path):
        return ErrorShape.ANTHROPIC
    if _RESPONSES.match(path):
        return ErrorShape.RESPONSES
    if _OPENAI.match(path):
        return ErrorShape.OPENAI
    return ErrorShape.BOTH_KEYS


def error_response(api: str | ErrorShape, error: MariTalkError, headers: Mapping[str, str] | None = None) -> Response:
    """Build the response to a request that failed with `error`, or was rejected with it.

    `api`: the form of the body, or a path of the API. `headers` are added, and the error's `Retry-After` unless it is
    among them.
    """
    all_headers = dict(headers or {})
    if error.retry_after_seconds is not None:
        all_headers.setdefault("Retry-After", str(error.retry_after_seconds))
    body = msgspec.json.encode(_error_body(_shape(api), error))
    return Response(body, error.http_status, all_headers, JSON)


def last_events(api: str | ErrorShape, error: MariTalkError) -> bytes:
    """The final bytes of a stream that fails with `error`. `api`: the form of the error, or a path of the API."""
    shape = _shape(api)
    if shape is ErrorShape.RESPONSES:
        return _error_event({"type": "error", "message": str(error), "code": str(error.http_status), "param": None})
    body = _error_body(shape, error)
    if shape is ErrorShape.OPENAI:
        return (event(body) + "data: [DONE]\n\n").encode()
    return _error_event(body)


def _shape(api: str | ErrorShape) -> ErrorShape:
    return shape_of(api) if isinstance(api, str) else api


def _error_event(body: dict[str, Any]) -> bytes:
    return event(body, "error").encode()


def _error_body(shape: ErrorShape, error: MariTalkError) -> dict[str, Any]:
    text, status = str(error), error.http_status
    match shape:
        case ErrorShape.LOCAL:
            return {"error": text}
        case ErrorShape.CLOUD:
            return {"detail": text}
        case ErrorShape.OPENAI | ErrorShape.RESPONSES:
            return {"error": {"message": text, "type": _vllm_error_type(status), "param": None, "code": status}}
        case ErrorShape.ANTHROPIC:
            return {"type": "error", "error": {"type": _ANTHROPIC.get(status, "api_error"), "message": text}}
        case ErrorShape.VLLM_MESSAGES:
            return {"type": "error", "error": {"message": text, "type": _vllm_error_type(status)}}
        case ErrorShape.BOTH_KEYS:
            return {"error": text, "detail": text}


def _vllm_error_type(status: int) -> str:
    """vLLM's error type for a status, such as `BadRequestError` or `ServiceUnavailableError`."""
    name = "".join(word.capitalize() for word in HTTPStatus(status).phrase.split())
    return name if name.endswith("Error") else f"{name}Error"
