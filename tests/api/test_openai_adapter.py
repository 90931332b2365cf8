"""The adapter of the OpenAI-compatible routes, in front of an application that records what it receives."""

import asyncio
import json

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from maritalk_vllm.api.model_aliases import ModelNames
from maritalk_vllm.api.openai_adapter import MaritacaAPI, normalize_path, parse
from maritalk_vllm.api.request_parsing import PARSED_BODY
from maritalk_vllm.engine.request_context import CONTEXT
from maritalk_vllm.errors import RequestError
from tests.counting import with_context

MAX_CHARACTERS = 8192 * 81
"""The context of the demo model times its longest token."""


class RecordingApp:
    """An application that records its request, and sends a fixed response."""

    def __init__(self, answer: list[bytes], content_type: bytes = b"application/json") -> None:
        self._answer = answer
        self._type = content_type
        self.scope: Scope = {}
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.body = (await receive()).get("body", b"")
        headers = [(b"content-type", self._type)]
        if len(self._answer) == 1:
            headers.append((b"content-length", str(len(self._answer[0])).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in self._answer:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.scope["headers"])


def send(app: RecordingApp, method: str, path: str, **request: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        adapter = MaritacaAPI(app, ModelNames(["demo"]), 8192, MAX_CHARACTERS, max_answers=256)
        transport = httpx.ASGITransport(with_context(adapter))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, **request)  # type: ignore[arg-type]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/chat/completions", "/v1/chat/completions"),
        ("/api/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/api/models", "/v1/models"),
        ("/api/v1/responses", "/v1/responses"),
        ("/api/files/file1/content", "/v1/files/file1/content"),
        ("/api/chat/inference", "/api/chat/inference"),
        ("/api/chat/models", "/api/chat/models"),
        ("/apis", "/apis"),
        ("/generate", "/generate"),
    ],
)
def test_path_prefixes_are_normalized(path: str, expected: str) -> None:
    assert normalize_path(path).get("path", path) == expected
    app = RecordingApp([b"{}"])
    send(app, "POST", path, json={"model": "demo"})
    assert (app.scope["path"], app.scope["raw_path"]) == (expected, expected.encode())


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Key 100$ab", b"Bearer 100$ab"), ("key x", b"Bearer x"), ("Bearer x", b"Bearer x"), ("Basic x", b"Basic x")],
)
def test_key_scheme_becomes_bearer(header: str, expected: bytes) -> None:
    app = RecordingApp([b"{}"])
    send(app, "GET", "/v1/models", headers={"Authorization": header})
    assert app.headers[b"authorization"] == expected


def test_request_is_adapted() -> None:
    app = RecordingApp([b"{}"])
    body = {"model": "sabia-3", "messages": [{"role": "user", "content": "São"}], "tools": [{"name": "f"}]}
    send(app, "POST", "/api/chat/completions", json=body)
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert json.loads(app.body) == {**body, "model": "demo", "tools": tools} == app.scope[PARSED_BODY]
    assert int(app.headers[b"content-length"]) == len(app.body)


def test_request_without_differences_keeps_its_bytes() -> None:
    app = RecordingApp([b"{}"])
    sent = '{ "model":"demo", "seed": 99999999999999999999999, "messages":[{"role":"user","content":"São"}] }'.encode()
    send(app, "POST", "/v1/chat/completions", content=sent)
    assert app.body == sent
    assert app.scope[PARSED_BODY] == json.loads(sent)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"nothing", "The body is not JSON"),
        (b'{"a": "\\ud800"}', "The body is not JSON"),
        (b'{"a": NaN}', "The body is not JSON"),
        (b'{"a": ' + b"[" * (10 << 20), "The body is not JSON"),
        (b"[]", "expected object"),
        (b'{"a": [{"b": "x\\u0000"}]}', "NUL"),
        (b'{"a\\u0000": 1}', "NUL"),
    ],
)
def test_unreadable_body_is_rejected(raw: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse(raw)
    app = RecordingApp([b"{}"])
    answer = send(app, "POST", "/api/completions", content=raw)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert app.scope == {}
    anthropic = send(app, "POST", "/v1/messages", content=raw)
    assert anthropic.json()["type"] == "error"
    assert message in anthropic.json()["error"]["message"]


def test_escaped_backslash_before_u0000_is_text() -> None:
    assert parse(rb'{"a": "\\u0000"}') == {"a": "\\u0000"}


def test_null_content_is_removed_from_chat_events() -> None:
    events = [
        b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":null,"tool_calls":[{"index":0}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"say \\"content\\":null"}}]}\n\n',
        b": keep-alive\n\n",
        b"data: [DONE]\n\n",
    ]
    answer = send(RecordingApp(events, b"text/event-stream"), "POST", "/v1/chat/completions", json={"model": "demo"})
    assert answer.content == b"".join(events).replace(b'"content":null,', b"")


def test_response_events_are_numbered_from_one() -> None:
    events = [
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n',
        b'event: response.output_text.delta\ndata: {"delta":"x","sequence_number":1}\n\n',
    ]
    answer = send(RecordingApp(events, b"text/event-stream"), "POST", "/api/responses", json={"model": "demo"})
    assert answer.content == b"".join(events).replace(b":1}", b":2}").replace(b":0}", b":1}")


def test_models_list_is_adapted() -> None:
    answer = send(RecordingApp([b'{"data":[{"id":"demo","max_model_len":8}]}']), "GET", "/api/models")
    assert answer.json()["data"][0]["context_length"] == 8
    assert int(answer.headers["content-length"]) == len(answer.content)


TOO_MANY = "The request has 3 prompts and n is 100: together 300 answers, over this server's limit of 256 at once."
CHAT, BATCH = "/v1/chat/completions", "/v1/chat/completions/batch"


def batch(prompts: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": "a"}]] * prompts


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/v1/completions", {"prompt": ["a"] * 257}, "The request has 257 prompts, over this server's limit of 256."),
        ("/api/completions", {"prompt": [[1]] * 257}, "The request has 257 prompts, over this server's limit of 256."),
        ("/v1/completions", {"prompt_embeds": ["a"] * 257}, "The request has 258 prompts, over this server's limit"),
        (BATCH, {"messages": batch(257)}, "The request has 257 prompts, over this server's limit of 256."),
        (
            "/v1/completions",
            {"prompt": "a", "n": 129},
            "n is 129, over this server's limit of 128 answers to a prompt.",
        ),
        ("/v1/completions", {"prompt": "a", "n": "16384"}, "n is 16384, over this server's limit of 128 answers"),
        (CHAT, {"messages": [], "n": 1000}, "n is 1000, over this server's limit of 128 answers to a prompt."),
        (BATCH, {"messages": batch(1), "n": 129}, "n is 129, over this server's limit of 128 answers to a prompt."),
        ("/v1/completions", {"prompt": ["a"] * 3, "n": 100}, TOO_MANY),
        ("/v1/completions", {"prompt": ["a"] * 3, "n": 100.0}, TOO_MANY),
        ("/v1/completions", {"prompt": ["a"] * 3, "n": "100"}, TOO_MANY),
        ("/v1/completions", {"prompt": "a", "use_beam_search": True}, "use_beam_search: this server offers no beam"),
        (
            CHAT,
            {"messages": [], "use_beam_search": True, "n": 4},
            "use_beam_search: this server offers no beam search.",
        ),
    ],
)
def test_more_answers_than_the_limit_are_invalid(path: str, fields: dict[str, object], message: str) -> None:
    app = RecordingApp([b"{}"])
    answer = send(app, "POST", path, json={"model": "demo", "max_tokens": 1, **fields})
    assert (answer.status_code, app.scope) == (400, {})
    assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": ["a"] * 256}),
        ("/v1/completions", {"prompt": [1] * 300}),
        ("/v1/completions", {"prompt": "a" * 300}),
        ("/v1/completions", {"prompt": ["a"] * 2, "n": 128}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}] * 3, "n": 128}),
        ("/v1/chat/completions/batch", {"messages": batch(256)}),
    ],
)
def test_answers_within_the_limit_are_accepted(path: str, fields: dict[str, object]) -> None:
    app = RecordingApp([b"{}"])
    assert send(app, "POST", path, json={"model": "demo", "max_tokens": 1, **fields}).status_code == 200


@pytest.mark.parametrize(
    ("given", "is_open"),
    [
        ({}, True),
        ({"max_tokens": None}, True),
        ({"max_tokens": 1}, False),
        ({"max_completion_tokens": 1}, False),
        ({"max_output_tokens": 1}, False),
    ],
)
def test_usage_records_whether_the_answer_is_open(given: dict[str, int | None], is_open: bool) -> None:
    app = RecordingApp([b"{}"])
    send(app, "POST", "/v1/chat/completions", json={"messages": [], **given})
    assert app.scope[CONTEXT].usage.is_open == is_open


@pytest.mark.parametrize(
    ("given", "has_tools"), [({}, False), ({"tools": []}, False), ({"tools": [{"name": "a"}]}, True)]
)
def test_context_records_whether_the_model_may_call_tools(given: dict[str, object], has_tools: bool) -> None:
    app = RecordingApp([b"{}"])
    send(app, "POST", "/v1/chat/completions", json={"messages": [], **given})
    assert app.scope[CONTEXT].has_tools == has_tools
