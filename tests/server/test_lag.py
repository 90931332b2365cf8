"""On the real engine: no body, accepted or rejected, blocks the event loop for longer than half a second.

The tests measure the CPU time of the loop's thread over the whole request. That is an upper bound of the longest
time without a switch to other requests, and other load on the machine adds little to it.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving import Server

MAX_SECONDS = 0.5
TEXT = "a b " * 3_700_000
"""15 MB, which an earlier version tokenized for 16 s."""

LONGEST = "a b " * 160_000
"""Nearly as many characters as the demo model's context allows."""

MESSAGE = {"role": "user", "content": "a"}
NAMED: dict[str, Any] = {"model": "demo", "max_tokens": 1}
OPEN: dict[str, Any] = {
    "model": "demo",
    "messages": [MESSAGE],
    "logprobs": True,
    "top_logprobs": 20,
    # Ends the answer early, although it might fill the context.
    "stop": ["a", "e", " "],
}
DEEP = b'{"prompt": "\\u0000", "x": ' + b"[" * 1300 + b"]" * 1300 + b"}"


def tool(number: int) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}}
    return {"type": "function", "function": {"name": f"f{number}", "parameters": parameters}}


REJECTED: dict[str, tuple[str, Callable[[], Any]]] = {
    "a text, completions": ("/v1/completions", lambda: {**NAMED, "prompt": TEXT}),
    "a text, tokenize": ("/tokenize", lambda: {"model": "demo", "prompt": TEXT}),
    "a text, generate": ("/generate", lambda: {"prompt": TEXT}),
    "a text, chat": ("/v1/chat/completions", lambda: {**NAMED, "messages": [{**MESSAGE, "content": TEXT}]}),
    "a text, chat/generate": ("/chat/generate", lambda: {"messages": [{**MESSAGE, "content": TEXT}]}),
    "a text, count_tokens": (
        "/v1/messages/count_tokens",
        lambda: {"model": "demo", "messages": [{**MESSAGE, "content": TEXT}]},
    ),
    "a text, responses": ("/v1/responses", lambda: {"model": "demo", "input": TEXT}),
    "texts together, completions": ("/v1/completions", lambda: {**NAMED, "prompt": [LONGEST] * 24}),
    "texts together, batch": (
        "/v1/chat/completions/batch",
        lambda: {**NAMED, "messages": [[{**MESSAGE, "content": LONGEST}]] * 24},
    ),
    "items, responses": ("/v1/responses", lambda: {"model": "demo", "input": [MESSAGE] * 12_000}),
    "messages": ("/v1/chat/completions", lambda: {**NAMED, "messages": [MESSAGE] * 400_000}),
    "parts": ("/v1/chat/completions", lambda: {**NAMED, "messages": [{**MESSAGE, "content": [{}] * 400_000}]}),
    "objects in an unknown field": ("/v1/completions", lambda: {**NAMED, "prompt": "a", "x": [{}] * 400_000}),
    "tokens, detokenize": ("/detokenize", lambda: {"model": "demo", "tokens": [5] * 490_000}),
    "tokens, completions": ("/v1/completions", lambda: {**NAMED, "prompt": [5] * 490_000}),
    "logprobs": ("/v1/completions", lambda: {**NAMED, "prompt": [5] * 7000, "echo": True, "logprobs": 5}),
    "logprobs of several answers": (
        "/v1/chat/completions",
        lambda: {**OPEN, "n": 2},
    ),
    "bad words": ("/v1/completions", lambda: {**NAMED, "prompt": "a", "bad_words": ["a"] * 40_000}),
    "depth": ("/v1/completions", lambda: DEEP),
}

ACCEPTED: dict[str, tuple[str, Callable[[], Any]]] = {
    "a text, tokenize": ("/tokenize", lambda: {"model": "demo", "prompt": LONGEST}),
    "logprobs of an answer without max_tokens": ("/v1/chat/completions", lambda: OPEN),
    "logprobs of a prompt": ("/v1/completions", lambda: {**NAMED, "prompt": [500] * 570, "prompt_logprobs": 20}),
    "objects in an unknown field": ("/v1/completions", lambda: {**NAMED, "prompt": "a", "x": [{}] * 49_000}),
}


def loop_seconds(server: Server) -> float:
    (process,) = (pid for pid, line in server.processes().items() if line.startswith("maritalk: serve"))
    # The event loop runs in the main thread.
    ticks = Path(f"/proc/{process}/task/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def seconds_for(server: Server, path: str, body: Any, status: int) -> float:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    before = loop_seconds(server)
    answer = server.ask(path, data)
    assert answer.status == status, answer.body[:1000]
    return loop_seconds(server) - before


@pytest.mark.parametrize("what", REJECTED)
def test_a_rejected_body_does_not_block_the_event_loop(shared_server: Server, what: str) -> None:
    path, body = REJECTED[what]
    assert seconds_for(shared_server, path, body(), 400) < MAX_SECONDS


@pytest.mark.parametrize("what", ACCEPTED)
def test_a_body_at_the_limit_does_not_block_the_event_loop(shared_server: Server, what: str) -> None:
    path, body = ACCEPTED[what]
    assert seconds_for(shared_server, path, body(), 200) < MAX_SECONDS
