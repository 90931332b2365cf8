"""Bad input to each API on the real engine: a clear 4xx in the form of that API, and one line in the log."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Answer, Server, until

USER = [{"role": "user", "content": "Hi!"}]
VALID: dict[str, dict[str, Any]] = {
    "/generate": {"prompt": "Hi!", "max_tokens": 2},
    "/chat/generate": {"messages": USER, "max_tokens": 2},
    "/api/chat/inference": {"messages": USER, "max_tokens": 2},
    "/api/chat/completions": {"model": "demo", "messages": USER, "max_tokens": 2},
    "/v1/completions": {"model": "demo", "prompt": "Hi!", "max_tokens": 2},
}
STOPS = {"/generate": "stop_sequences", "/chat/generate": "stop_sequences", "/api/chat/inference": "stopping_tokens"}
CONVERSATIONS = ("/chat/generate", "/api/chat/inference", "/api/chat/completions")

Bad = Callable[[str], object]
"""Builds the body for a path: bytes are sent as they are, other values as JSON. None: that API has no such field."""


def with_fields(**fields: object) -> Bad:
    return lambda path: {**VALID[path], **fields}


def without(field: str) -> Bad:
    return lambda path: {name: value for name, value in VALID[path].items() if name != field}


def conversation(messages: object) -> Bad:
    return lambda path: {**VALID[path], "messages": messages} if path in CONVERSATIONS else None


def number(field: str, written: str) -> Bad:
    """A number in JSON that no library would write."""
    return lambda path: json.dumps(VALID[path])[:-1].encode() + f', "{field}": {written}}}'.encode()


def text(written: str) -> Bad:
    """Replace the only text of a request by raw JSON."""
    return lambda path: json.dumps(VALID[path]).replace("Hi!", written).encode()


def both(path: str) -> object:
    if path == "/api/chat/inference":  # has no field `prompt`
        return None
    return {**VALID[path], "prompt": "Hi!", "messages": USER}


def seed(path: str) -> object:
    return None if path == "/api/chat/inference" else {**VALID[path], "seed": 2**63}


BAD: dict[str, tuple[Bad, list[str]]] = {
    "not JSON": (lambda path: b"nothing", ["not JSON"]),
    "nothing at all": (lambda path: b"", ["not JSON"]),
    "a list": (lambda path: [], ["object"]),
    "wrong type": (with_fields(max_tokens="many"), ["max_tokens"]),
    "missing fields": (lambda path: {"model": "demo"}, []),
    "prompt and messages": (both, ["prompt", "messages"]),
    "empty messages": (conversation([]), []),
    "messages of the wrong type": (conversation(3), ["messages"]),
    "unknown role": (conversation([{"role": "robot", "content": "x"}]), ["role", "robot"]),
    "over the context": (with_fields(max_tokens=8191), ["The prompt has", "8191", "8192"]),
    "far over the context": (with_fields(max_tokens=10**12), [str(10**12), "8192"]),
    "no tokens": (with_fields(max_tokens=0), ["max_tokens"]),
    "negative temperature": (with_fields(temperature=-1), ["temperature"]),
    "temperature NaN": (number("temperature", "NaN"), ["not JSON"]),
    "temperature infinite": (number("temperature", "1e999"), ["out of range"]),
    "top_p 0": (with_fields(top_p=0), ["top_p"]),
    "top_p 2": (with_fields(top_p=2), ["top_p"]),
    "seed 2^63": (seed, ["seed"]),
    "10,000 stops": (lambda path: {**VALID[path], STOPS.get(path, "stop"): ["x"] * 10_000}, ["stop"]),
    "a lone surrogate": (text("\\ud800"), ["not JSON"]),
    "NUL": (text("a\\u0000b"), ["NUL"]),
    "10 MB of nesting": (lambda path: b'{"x": ' + b"[" * (10 << 20), ["10,485,761 objects and lists", "50,000"]),
}


def lines(log: Path) -> list[str]:
    """vLLM's log without the statistics that it writes every ten seconds."""
    return [line for line in log.read_text().splitlines() if "throughput" not in line]


def error_message(path: str, answer: Answer) -> str:
    """The error message, from the key that clients of this API read."""
    body = answer.json
    match path:
        case "/generate" | "/chat/generate":
            assert set(body) == {"error"}
            message = body["error"]
        case "/api/chat/inference":
            assert set(body) == {"detail"}
            message = body["detail"]
        case _:
            assert set(body) == {"error"}
            assert body["error"]["code"] == answer.status
            message = body["error"]["message"]
    assert isinstance(message, str)
    return message


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("path", VALID)
def test_bad_input_is_rejected_and_logged_once(shared_server: Server, path: str, what: str) -> None:
    make_body, expected = BAD[what]
    body = make_body(path)
    if body is None:
        return  # this API has no such field
    before = lines(shared_server.engine_log)
    answer = shared_server.ask(path, body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    message = error_message(path, answer)
    for text in expected:
        assert text in message
    others = re.compile(rf"\[(?!{answer.headers['x-request-id']})[0-9a-f]{{32}}\]")
    new_lines: list[str] = []

    def is_logged() -> bool:
        # A separate process writes the log, a little later: lines of an earlier request may come after `before`.
        new = lines(shared_server.engine_log)[len(before) :]
        new_lines[:] = (line for line in new if not others.search(line))
        return any(f"POST '{path}' 400" in line for line in new_lines)

    until(is_logged, "the line of a request")
    # One line for the request. On its own routes, vLLM may write another one.
    assert sum(f"POST '{path}' 400" in line for line in new_lines) == 1
    assert len(new_lines) <= (1 if path in STOPS else 2)


def test_too_many_tokens_for_messages_api_is_rejected(shared_server: Server) -> None:
    before = lines(shared_server.engine_log)
    answer = shared_server.ask("/v1/messages", {"model": "demo", "messages": USER, "max_tokens": 9000})
    assert answer.status == 400
    assert answer.json["type"] == "error"
    assert "9000" in answer.json["error"]["message"]
    until(lambda: len(lines(shared_server.engine_log)) >= len(before) + 2, "the lines of a request")
    line, request = lines(shared_server.engine_log)[len(before) :]
    assert "9000" in line
    assert "POST '/v1/messages' 400" in request


@pytest.mark.parametrize("path", VALID)
def test_valid_requests_and_unknown_fields_are_accepted(shared_server: Server, path: str) -> None:
    assert shared_server.ask(path, VALID[path]).status == 200
    assert shared_server.ask(path, {**VALID[path], "temperature": 3, "never_heard_of": [1]}).status == 200
