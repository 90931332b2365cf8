"""The door to the OpenAI-compatible routes, before an application that shows what came through."""

import asyncio
import json

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from maritalk_vllm.api.model_aliases import ModelNames
from maritalk_vllm.api.openai_adapter import MaritacaAPI, normalize_path, parse
from maritalk_vllm.engine.request_usage import RequestUsage, current
from maritalk_vllm.errors import RequestError

MAX_CHARACTERS = 8192 * 81
"""The context of the demo model, and its longest token."""


class Shown:
    """An application that keeps the request it got, and answers what it was made with."""

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


def through(app: Shown, method: str, path: str, **request: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(MaritacaAPI(app, ModelNames(["demo"]), 8192, MAX_CHARACTERS, max_answers=256))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, **request)  # type: ignore[arg-type]

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "where"),
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
def test_where_a_path_leads(path: str, where: str) -> None:
    assert normalize_path(path).get("path", path) == where
    app = Shown([b"{}"])
    through(app, "POST", path, json={"model": "demo"})
    assert (app.scope["path"], app.scope["raw_path"]) == (where, where.encode())


@pytest.mark.parametrize(
    ("sent", "seen"),
    [("Key 100$ab", b"Bearer 100$ab"), ("key x", b"Bearer x"), ("Bearer x", b"Bearer x"), ("Basic x", b"Basic x")],
)
def test_both_spellings_of_a_key(sent: str, seen: bytes) -> None:
    app = Shown([b"{}"])
    through(app, "GET", "/v1/models", headers={"Authorization": sent})
    assert app.headers[b"authorization"] == seen


def test_a_request_that_is_adapted() -> None:
    app = Shown([b"{}"])
    body = {"model": "sabia-3", "messages": [{"role": "user", "content": "São"}], "tools": [{"name": "f"}]}
    through(app, "POST", "/api/chat/completions", json=body)
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert json.loads(app.body) == {**body, "model": "demo", "tools": tools}
    assert int(app.headers[b"content-length"]) == len(app.body)


def test_a_request_that_needs_nothing_goes_through_to_the_byte() -> None:
    app = Shown([b"{}"])
    sent = '{ "model":"demo", "seed": 99999999999999999999999, "messages":[{"role":"user","content":"São"}] }'.encode()
    through(app, "POST", "/v1/chat/completions", content=sent)
    assert app.body == sent


@pytest.mark.parametrize(
    ("raw", "says"),
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
def test_what_no_model_can_read(raw: bytes, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        parse(raw)
    app = Shown([b"{}"])
    answer = through(app, "POST", "/api/completions", content=raw)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]
    assert app.scope == {}
    anthropic = through(app, "POST", "/v1/messages", content=raw)
    assert anthropic.json()["type"] == "error"
    assert says in anthropic.json()["error"]["message"]


def test_the_letters_of_an_escape_are_text() -> None:
    assert parse(rb'{"a": "\\u0000"}') == {"a": "\\u0000"}


def test_events_of_a_chat() -> None:
    events = [
        b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":null,"tool_calls":[{"index":0}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"say \\"content\\":null"}}]}\n\n',
        b": keep-alive\n\n",
        b"data: [DONE]\n\n",
    ]
    answer = through(Shown(events, b"text/event-stream"), "POST", "/v1/chat/completions", json={"model": "demo"})
    assert answer.content == b"".join(events).replace(b'"content":null,', b"")


def test_events_of_a_response() -> None:
    events = [
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0}\n\n',
        b'event: response.output_text.delta\ndata: {"delta":"x","sequence_number":1}\n\n',
    ]
    answer = through(Shown(events, b"text/event-stream"), "POST", "/api/responses", json={"model": "demo"})
    assert answer.content == b"".join(events).replace(b":1}", b":2}").replace(b":0}", b":1}")


def test_the_list_of_models() -> None:
    answer = through(Shown([b'{"data":[{"id":"demo","max_model_len":8}]}']), "GET", "/api/models")
    assert answer.json()["data"][0]["context_length"] == 8
    assert int(answer.headers["content-length"]) == len(answer.content)


TOGETHER = "The request has 3 prompts and n is 100: together 300 answers, over this server's limit of 256 at once."
CHAT, BATCH = "/v1/chat/completions", "/v1/chat/completions/batch"


def batch(prompts: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": "a"}]] * prompts


@pytest.mark.parametrize(
    ("path", "asked", "told"),
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
        ("/v1/completions", {"prompt": ["a"] * 3, "n": 100}, TOGETHER),
        ("/v1/completions", {"prompt": ["a"] * 3, "n": 100.0}, TOGETHER),
        ("/v1/completions", {"prompt": ["a"] * 3, "n": "100"}, TOGETHER),
        ("/v1/completions", {"prompt": "a", "use_beam_search": True}, "use_beam_search: this server offers no beam"),
        (
            CHAT,
            {"messages": [], "use_beam_search": True, "n": 4},
            "use_beam_search: this server offers no beam search.",
        ),
    ],
)
def test_more_answers_than_ever_fit_are_no_matter_of_time(path: str, asked: dict[str, object], told: str) -> None:
    app = Shown([b"{}"])
    answer = through(app, "POST", path, json={"model": "demo", "max_tokens": 1, **asked})
    assert (answer.status_code, app.scope) == (400, {})
    assert answer.json()["error"]["message"].startswith(told)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/completions", {"prompt": ["a"] * 256}),
        ("/v1/completions", {"prompt": [1] * 300}),
        ("/v1/completions", {"prompt": "a" * 300}),
        ("/v1/completions", {"prompt": ["a"] * 2, "n": 128}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}] * 3, "n": 128}),
        ("/v1/chat/completions/batch", {"messages": batch(256)}),
    ],
)
def test_as_many_answers_as_fit_go_on(path: str, asked: dict[str, object]) -> None:
    app = Shown([b"{}"])
    assert through(app, "POST", path, json={"model": "demo", "max_tokens": 1, **asked}).status_code == 200


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
def test_the_account_knows_whether_the_answer_has_a_limit(given: dict[str, int | None], is_open: bool) -> None:
    token = current.set(account := RequestUsage())
    try:
        through(Shown([b"{}"]), "POST", "/v1/chat/completions", json={"messages": [], **given})
    finally:
        current.reset(token)
    assert account.is_open == is_open
