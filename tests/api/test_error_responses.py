"""Errors in the form that the clients of each API read, as an answer and at the end of a stream."""

import json
from typing import Any

import pytest

from maritalk_vllm.api.error_responses import error_response, last_events
from maritalk_vllm.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EngineError,
    MariTalkError,
    MethodNotAllowed,
    NoSuchModel,
    RequestError,
    Unauthorized,
    Unavailable,
)
from tests.api.test_sse import parse_events

GONE = Unavailable("The server is stopping.", "Try again in a moment.")
SAID = "The server is stopping. Try again in a moment."

OPENAI = {"error": {"message": SAID, "type": "ServiceUnavailableError", "param": None, "code": 503}}
ANTHROPIC = {"type": "error", "error": {"type": "overloaded_error", "message": SAID}}

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
# vLLM's own routes, and any that nobody knows: whichever key a client looks for is there.
OTHER_PATHS = ["/tokenize", "/docs", "/generate/", "//generate", "/v1", "/x", "", "/á"]

FORMS = [
    (LOCAL_PATHS, {"error": SAID}),
    (CLOUD_PATHS, {"detail": SAID}),
    (OPENAI_PATHS, OPENAI),
    # The Responses API has a form of its own only for the errors of its streams.
    (RESPONSES_PATHS, OPENAI),
    (ANTHROPIC_PATHS, ANTHROPIC),
    (OTHER_PATHS, {"error": SAID, "detail": SAID}),
]


@pytest.mark.parametrize(("path", "form"), [(path, form) for paths, form in FORMS for path in paths])
def test_an_answer_has_the_form_of_its_api(path: str, form: dict[str, Any]) -> None:
    answer = error_response(path, GONE)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(bytes(answer.body)) == form


@pytest.mark.parametrize(
    ("error", "openai", "anthropic"),
    [
        (RequestError, "BadRequestError", "invalid_request_error"),
        (Unauthorized, "UnauthorizedError", "authentication_error"),
        (NoSuchModel, "NotFoundError", "not_found_error"),
        (MethodNotAllowed, "MethodNotAllowedError", "api_error"),
        (BodyTooSlow, "RequestTimeoutError", "api_error"),
        # Python 3.13 has a new name for this status, which only clients that show it to people pass on.
        (BodyTooLarge, None, "request_too_large"),
        (EngineError, "InternalServerError", "api_error"),
        (Unavailable, "ServiceUnavailableError", "overloaded_error"),
    ],
)
def test_each_error_has_a_name_that_its_clients_know(
    error: type[MariTalkError], openai: str | None, anthropic: str
) -> None:
    told = json.loads(bytes(error_response("/v1/completions", error("x")).body))["error"]
    assert (told["message"], told["code"]) == ("x", error.http_status)
    assert told["type"] == (openai or told["type"])
    assert json.loads(bytes(error_response("/v1/messages", error("x")).body))["error"] == {
        "type": anthropic,
        "message": "x",
    }


def test_when_to_come_again_is_told_only_to_those_who_may() -> None:
    assert error_response("/generate", GONE).headers["retry-after"] == "1"
    # The caller may know better.
    assert error_response("/generate", GONE, {"Retry-After": "7"}).headers.getlist("retry-after") == ["7"]
    for error in (RequestError("x"), Unauthorized("x"), BodyTooLarge("x"), EngineError("x")):
        assert "retry-after" not in error_response("/generate", error).headers


def test_headers_are_added_and_those_given_stay_as_they_are() -> None:
    given = {"Connection": "close"}
    answer = error_response("/generate", GONE, given)
    assert answer.headers["connection"] == "close"
    assert answer.headers["retry-after"] == "1"
    assert given == {"Connection": "close"}


def events(path: str, error: MariTalkError = GONE) -> list[tuple[str, str]]:
    """As openai 3.54.0 and anthropic 2.12.0 take a stream apart: `event` and `data` of each, up to an empty line."""
    found, kind, data = [], "", []
    text = last_events(path, error).decode()
    # Whatever follows the last empty line is no event to any client.
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
def test_a_stream_of_openai_ends_with_the_error_and_done(path: str) -> None:
    (kind, error), done = events(path)
    # Its client raises what has a key `error`, and reads no further than `[DONE]`.
    assert (kind, json.loads(error)) == ("", OPENAI)
    assert done == ("", "[DONE]")


@pytest.mark.parametrize("path", RESPONSES_PATHS)
def test_a_stream_of_responses_ends_with_an_event_of_its_own(path: str) -> None:
    ((kind, error),) = events(path)
    assert kind == "error"
    assert json.loads(error) == {"type": "error", "message": SAID, "code": "503", "param": None}


@pytest.mark.parametrize("path", ANTHROPIC_PATHS)
def test_a_stream_of_anthropic_ends_with_an_event_of_the_kind_error(path: str) -> None:
    ((kind, error),) = events(path)
    # Its client leaves out events of no kind.
    assert (kind, json.loads(error)) == ("error", ANTHROPIC)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        *((path, {"error": SAID}) for path in LOCAL_PATHS),
        *((path, {"detail": SAID}) for path in CLOUD_PATHS),
        *((path, {"error": SAID, "detail": SAID}) for path in OTHER_PATHS),
    ],
)
def test_a_stream_of_maritalk_ends_with_an_event_of_the_kind_error(path: str, told: dict[str, str]) -> None:
    ((kind, _),) = events(path)
    assert kind == "error"
    assert parse_events(last_events(path, GONE).decode()) == [told]


@pytest.mark.parametrize("text", ["São Paulo", "a\nb\r\n\r\nc", "data: data: ", "event: end", "\u2028\x85", "😀"])
@pytest.mark.parametrize(
    "path", ["/generate", "/api/chat/inference", "/v1/completions", "/v1/responses", "/v1/messages"]
)
def test_whatever_the_text_it_is_one_event(path: str, text: str) -> None:
    (_, first), *others = events(path, Unavailable(text))
    assert others == ([("", "[DONE]")] if path == "/v1/completions" else [])
    told = json.loads(first)
    while isinstance(told.get("error"), dict):
        told = told["error"]
    # An error's text has no space at its ends.
    assert text.strip() in told.values()
