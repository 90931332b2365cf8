"""Errors in the form of each API, as a response and as the last event of a stream."""

import json
from typing import Any

import pytest

from maritalk_vllm.api.error_responses import ErrorShape, error_response, last_events, shape_of
from maritalk_vllm.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EngineError,
    MariTalkError,
    MethodNotAllowed,
    NoSuchModel,
    RequestError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from tests.api.test_sse import parse_events

UNAVAILABLE = Unavailable("The server is stopping.", "Try again in a moment.")
MESSAGE = "The server is stopping. Try again in a moment."

OPENAI = {"error": {"message": MESSAGE, "type": "ServiceUnavailableError", "param": None, "code": 503}}
ANTHROPIC = {"type": "error", "error": {"type": "overloaded_error", "message": MESSAGE}}

LOCAL_PATHS = ["/", "/generate", "/chat/generate"]
CLOUD_PATHS = ["/api/chat/inference", "/api/chat/models"]
OPENAI_PATHS = [
    "/v1/chat/completions",
    "/api/chat/completions",
    "/api/v1/chat/completions",
    "/v1/completions",
    "/v1/models",
    "/v1/no/such/route",
]
RESPONSES_PATHS = ["/v1/responses", "/api/responses", "/api/v1/responses", "/v1/responses/resp_1/cancel"]
ANTHROPIC_PATHS = ["/v1/messages", "/api/messages", "/api/v1/messages", "/v1/messages/count_tokens"]
# vLLM's own routes, and unknown paths: both keys that clients may read are present.
OTHER_PATHS = ["/tokenize", "/docs", "/generate/", "//generate", "/responses", "/v1", "/x", "", "/á"]

FORMS = [
    (LOCAL_PATHS, {"error": MESSAGE}),
    (CLOUD_PATHS, {"detail": MESSAGE}),
    (OPENAI_PATHS, OPENAI),
    # The Responses API has its own form only for errors in streams.
    (RESPONSES_PATHS, OPENAI),
    (ANTHROPIC_PATHS, ANTHROPIC),
    (OTHER_PATHS, {"error": MESSAGE, "detail": MESSAGE}),
]


@pytest.mark.parametrize(("path", "form"), [(path, form) for paths, form in FORMS for path in paths])
def test_response_has_the_form_of_its_api(path: str, form: dict[str, Any]) -> None:
    response = error_response(path, UNAVAILABLE)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/json"
    assert json.loads(bytes(response.body)) == form


@pytest.mark.parametrize(
    ("error", "openai", "anthropic"),
    [
        (RequestError, "BadRequestError", "invalid_request_error"),
        (Unauthorized, "UnauthorizedError", "authentication_error"),
        (NoSuchModel, "NotFoundError", "not_found_error"),
        (MethodNotAllowed, "MethodNotAllowedError", "api_error"),
        (BodyTooSlow, "RequestTimeoutError", "api_error"),
        # Python 3.13 has a new name for this status; clients only display it.
        (BodyTooLarge, None, "request_too_large"),
        (EngineError, "InternalServerError", "api_error"),
        (Unavailable, "ServiceUnavailableError", "overloaded_error"),
    ],
)
def test_error_types_are_those_of_each_api(error: type[MariTalkError], openai: str | None, anthropic: str) -> None:
    body = json.loads(bytes(error_response("/v1/completions", error("x")).body))["error"]
    assert (body["message"], body["code"]) == ("x", error.http_status)
    assert body["type"] == (openai or body["type"])
    assert json.loads(bytes(error_response("/v1/messages", error("x")).body))["error"] == {
        "type": anthropic,
        "message": "x",
    }


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (ErrorShape.LOCAL, b'{"error":"\xc3\xa9 \\"x\\""}'),
        (ErrorShape.CLOUD, b'{"detail":"\xc3\xa9 \\"x\\""}'),
        (
            ErrorShape.OPENAI,
            b'{"error":{"message":"\xc3\xa9 \\"x\\"","type":"BadRequestError","param":null,"code":400}}',
        ),
        (
            ErrorShape.RESPONSES,
            b'{"error":{"message":"\xc3\xa9 \\"x\\"","type":"BadRequestError","param":null,"code":400}}',
        ),
        (
            ErrorShape.ANTHROPIC,
            b'{"type":"error","error":{"type":"invalid_request_error","message":"\xc3\xa9 \\"x\\""}}',
        ),
        (
            ErrorShape.VLLM_MESSAGES,
            b'{"type":"error","error":{"message":"\xc3\xa9 \\"x\\"","type":"BadRequestError"}}',
        ),
        (ErrorShape.BOTH_KEYS, b'{"error":"\xc3\xa9 \\"x\\"","detail":"\xc3\xa9 \\"x\\""}'),
    ],
)
def test_bytes_of_each_form(shape: ErrorShape, body: bytes) -> None:
    assert bytes(error_response(shape, RequestError('é "x"')).body) == body


def test_a_path_stands_for_the_form_of_its_api() -> None:
    for path in (*LOCAL_PATHS, *CLOUD_PATHS, *OPENAI_PATHS, *RESPONSES_PATHS, *ANTHROPIC_PATHS, *OTHER_PATHS):
        assert bytes(error_response(path, UNAVAILABLE).body) == bytes(error_response(shape_of(path), UNAVAILABLE).body)
        assert last_events(path, UNAVAILABLE) == last_events(shape_of(path), UNAVAILABLE)


def test_only_errors_that_a_later_request_may_not_get_have_retry_after() -> None:
    assert error_response("/generate", TooManyRequests("x", "", 40)).headers["retry-after"] == "40"
    assert error_response("/generate", TooManyRequests("x")).headers["retry-after"] == "1"
    assert error_response("/generate", UNAVAILABLE).headers["retry-after"] == "1"
    # The caller's value takes precedence.
    assert error_response("/generate", UNAVAILABLE, {"Retry-After": "7"}).headers.getlist("retry-after") == ["7"]
    for error in (RequestError("x"), Unauthorized("x"), BodyTooLarge("x"), EngineError("x")):
        assert "retry-after" not in error_response("/generate", error).headers


def test_headers_are_added_without_changing_the_argument() -> None:
    given = {"Connection": "close"}
    response = error_response("/generate", UNAVAILABLE, given)
    assert response.headers["connection"] == "close"
    assert response.headers["retry-after"] == "1"
    assert given == {"Connection": "close"}


def events(path: str, error: MariTalkError = UNAVAILABLE) -> list[tuple[str, str]]:
    """Parse a stream as openai 3.54.0 and anthropic 2.12.0 do: `event` and `data`, up to an empty line."""
    found, kind, data = [], "", []
    text = last_events(path, error).decode()
    # Clients ignore text after the last empty line.
    assert text.endswith("\n\n")
    for line in text.splitlines():
        if line:
            field, _, value = line.partition(": ")
            if field == "event":
                kind = value
            else:
                assert field == "data"
                data.append(value)
        else:
            found.append((kind, "\n".join(data)))
            kind, data = "", []
    return found


@pytest.mark.parametrize("path", OPENAI_PATHS)
def test_openai_stream_ends_with_error_and_done(path: str) -> None:
    (kind, error), done = events(path)
    # The client raises an error for the key `error`, and stops reading at `[DONE]`.
    assert (kind, json.loads(error)) == ("", OPENAI)
    assert done == ("", "[DONE]")


@pytest.mark.parametrize("path", RESPONSES_PATHS)
def test_responses_stream_ends_with_its_own_error_event(path: str) -> None:
    ((kind, error),) = events(path)
    assert kind == "error"
    assert json.loads(error) == {"type": "error", "message": MESSAGE, "code": "503", "param": None}


@pytest.mark.parametrize("path", ANTHROPIC_PATHS)
def test_anthropic_stream_ends_with_error_event(path: str) -> None:
    ((kind, error),) = events(path)
    # The client ignores events without a type.
    assert (kind, json.loads(error)) == ("error", ANTHROPIC)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, {"error": MESSAGE}) for path in LOCAL_PATHS),
        *((path, {"detail": MESSAGE}) for path in CLOUD_PATHS),
        *((path, {"error": MESSAGE, "detail": MESSAGE}) for path in OTHER_PATHS),
    ],
)
def test_maritalk_stream_ends_with_error_event(path: str, body: dict[str, str]) -> None:
    ((kind, _),) = events(path)
    assert kind == "error"
    assert parse_events(last_events(path, UNAVAILABLE).decode()) == [body]


@pytest.mark.parametrize("text", ["São Paulo", "a\nb\r\n\r\nc", "data: data: ", "event: end", "\u2028\x85", "😀"])
@pytest.mark.parametrize(
    "path", ["/generate", "/api/chat/inference", "/v1/completions", "/v1/responses", "/v1/messages"]
)
def test_any_text_stays_one_event(path: str, text: str) -> None:
    (_, first), *others = events(path, Unavailable(text))
    assert others == ([("", "[DONE]")] if path == "/v1/completions" else [])
    body = json.loads(first)
    while isinstance(body.get("error"), dict):
        body = body["error"]
    # The error strips its text.
    assert text.strip() in body.values()
