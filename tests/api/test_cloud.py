"""MariTalk's legacy cloud API on the real engine."""

import http.client
import json
import os
import signal
import urllib.request
from typing import Any

import pytest

from tests.serving import Answer, Server

COUNTING = {"messages": "1 2 3 4 5", "chat_mode": False, "do_sample": False, "max_tokens": 18}
USAGE = {"completion_tokens": 18, "prompt_tokens": 9, "total_tokens": 27}


def infer(server: Server, **fields: object) -> Answer:
    return server.ask("/api/chat/inference", {**COUNTING, **fields})


def test_inference_returns_answer_usage_and_model(shared_server: Server) -> None:
    answer = infer(shared_server, model="sabia-2-small")
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["answer", "usage", "model"]
    assert answer.json["answer"].startswith(" 6 7 8")  # the leading space is kept
    assert answer.json["usage"] == USAGE
    assert answer.json["model"] == "demo"


@pytest.mark.parametrize("tokens", [1, 4, 7, 100])
def test_stream_has_pieces_and_a_flat_end_event(shared_server: Server, tokens: int) -> None:
    answer = infer(shared_server, stream=True, num_tokens_per_message=tokens)
    *texts, end, rest = answer.body.decode().split("\n\n")
    assert rest == ""
    texts = [text for text in texts if not text.startswith(":")]  # keep-alive comments on a slow machine
    pieces = [json.loads(text.removeprefix("data: "))["text"] for text in texts]
    assert "".join(pieces) == infer(shared_server).json["answer"]
    # The first event is sent at once, and the last contains the remaining tokens.
    assert len(pieces) <= 2 + 18 / tokens
    kind, data = end.splitlines()
    assert kind == "event: end"
    assert json.loads(data.removeprefix("data: ")) == {**USAGE, "model": "demo"}


def test_text_equals_one_user_message(shared_server: Server) -> None:
    chat: dict[str, Any] = {"chat_mode": True, "max_tokens": 8}
    text = infer(shared_server, messages="Hi!", **chat).json
    assert text == infer(shared_server, messages=[{"role": "user", "content": "Hi!"}], **chat).json
    assert text["usage"]["prompt_tokens"] > 20  # includes those of the template


def test_stopping_tokens_end_the_answer(shared_server: Server) -> None:
    assert infer(shared_server, stopping_tokens=["8"]).json["answer"] == " 6 7 "


def test_max_tokens_null_generates_until_the_model_stops(shared_server: Server) -> None:
    answer = infer(shared_server, max_tokens=None, stopping_tokens=["30"]).json
    assert answer["answer"].rstrip().endswith("29")
    assert answer["usage"]["completion_tokens"] > 18


def test_json_without_content_type_is_accepted(shared_server: Server) -> None:
    """The asynchronous clients send such requests."""
    connection = http.client.HTTPConnection("127.0.0.1", shared_server.port, timeout=60)
    headers = {"Authorization": "Key 100088$abc"}
    connection.request("POST", "/api/chat/inference", json.dumps(COUNTING), headers)
    assert json.loads(connection.getresponse().read())["answer"].startswith(" 6 7")
    connection.close()


@pytest.mark.parametrize(
    ("path", "fields", "first", "last"),
    [
        ("/api/chat/inference", COUNTING, b'data: {"text": "', b"event: end"),
        ("/v1/completions", {"prompt": "1 2 3", "max_tokens": 4}, b'"text":"', b"data: [DONE]"),
    ],
)
def test_silent_stream_gets_keep_alive_comments_within_five_seconds(
    shared_server: Server, path: str, fields: dict[str, object], first: bytes, last: bytes
) -> None:
    """While the engine is silent, here because it is suspended, the client receives comments."""
    (engine,) = (pid for pid, command in shared_server.processes().items() if "EngineCore" in command)
    body = json.dumps({**fields, "stream": True}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{shared_server.port}{path}", body, headers)
    os.kill(engine, signal.SIGSTOP)
    try:
        # A timeout for each read, as in httpx: 5 seconds of silence would raise an error.
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.read1() == b": keep-alive\n\n"
            assert answer.read1() == b": keep-alive\n\n"
            os.kill(engine, signal.SIGCONT)
            rest = answer.read()
    finally:
        os.kill(engine, signal.SIGCONT)
    assert first in rest
    assert last in rest


def test_errors_are_in_the_key_detail(shared_server: Server) -> None:
    unknown = infer(shared_server, model="gpt-4")
    assert unknown.status == 404
    assert unknown.json == {"detail": "There is no model 'gpt-4'. This server serves demo."}
    long = infer(shared_server, max_tokens=9000, stream=True)
    assert long.status == 400
    assert "9000" in long.json["detail"]


def test_wrong_method_gets_405(shared_server: Server) -> None:
    answer = shared_server.ask("/api/chat/inference")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json == {"detail": "GET is not for /api/chat/inference. Use POST."}


def test_models_lists_the_context_length(shared_server: Server) -> None:
    assert shared_server.ask("/api/chat/models").json == {"models": {"demo": {"context_length": 8192}}}
