"""On the real engine: the log and the metrics count the tokens that the response's usage reports."""

import http.client
import itertools
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.counting import samples
from tests.serving import Server, until

Tokens = tuple[int, int]
"""Prompt tokens and completion tokens."""

PROMPT, OTHER = "1 2 3 4", "Once upon a time"
CHAT = [{"role": "user", "content": "Count to twenty."}]
GREEDY = {"max_tokens": 6, "temperature": 0.7, "seed": 7}


def local(path: str, asked: dict[str, Any]) -> Iterator[Any]:
    for n, stream in itertools.product((1, 3), (False, True)):
        yield path, {**asked, "max_tokens": 6, "n": n, "stream": stream, "return_usage": True}


def openai(path: str, asked: dict[str, Any]) -> Iterator[Any]:
    for n, stream in itertools.product((1, 3), (False, True)):
        streamed = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        yield path, {**asked, **GREEDY, "n": n, **streamed}


def plain(path: str, asked: dict[str, Any]) -> Iterator[Any]:
    for stream in (False, True):
        yield path, {**asked, "stream": stream}


CASES = [
    *local("/generate", {"prompt": PROMPT}),
    *local("/chat/generate", {"messages": CHAT}),
    *plain("/api/chat/inference", {"messages": CHAT, "max_tokens": 6}),
    *openai("/v1/completions", {"model": "demo", "prompt": PROMPT}),
    *openai("/v1/completions", {"model": "demo", "prompt": [PROMPT, OTHER]}),
    *openai("/v1/chat/completions", {"model": "demo", "messages": CHAT}),
    ("/v1/completions", {"model": "demo", "prompt": [[33, 34], [35]], **GREEDY, "stop": ["1", "2", "e", " "]}),
    ("/v1/chat/completions/batch", {"model": "demo", "messages": [CHAT, CHAT[:1]], **GREEDY}),
    *plain("/v1/responses", {"model": "demo", "input": PROMPT, "max_output_tokens": 6}),
    *plain("/v1/messages", {"model": "demo", "messages": CHAT, "max_tokens": 6}),
]


class SentRequest:
    """One request. Its id finds its line in the log."""

    def __init__(self, server: Server, path: str, body: dict[str, Any]) -> None:
        self.number = uuid.uuid4().hex
        self._server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        headers = {"Content-Type": "application/json", "X-Request-Id": self.number}
        self._connection.request("POST", path, json.dumps(body), headers)

    def objects(self) -> list[Any]:
        """The JSON objects of the response: one, or one for each event of a stream."""
        answer = self._connection.getresponse()
        body = answer.read().decode()
        self._connection.close()
        assert answer.status == 200, body
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
        return [json.loads(line) for line in lines or [body]]

    def hang_up(self, events: int) -> int:
        """Close the connection after this many events of a stream; 0: without waiting for the response."""
        if events:
            answer = self._connection.getresponse()
            left = events
            while left:
                left -= answer.readline().startswith(b"data: {")
        assert self._connection.sock is not None
        self._connection.sock.close()
        self._connection.close()
        return events

    def logged(self) -> Tokens:
        """The tokens in the log's line of this request, once it has ended."""
        log, found = self._server.engine_log, list[str]()

        def is_logged() -> bool:
            found[:] = [line for line in log.read_text().splitlines() if f"[{self.number}]" in line]
            return bool(found)

        until(is_logged, "the line of a request")
        tokens = re.search(r" (\d+)\+(\d+) tokens", found[0])
        return (int(tokens[1]), int(tokens[2])) if tokens else (0, 0)


def reported(objects: list[Any]) -> Tokens:
    """The last usage that a response reports, in the form of its API."""
    prompt = answer = 0
    for each in objects:
        usage = each.get("response", each).get("usage") or each
        prompt = usage.get("prompt_tokens", usage.get("input_tokens", prompt))
        answer = usage.get("completion_tokens", usage.get("output_tokens", answer))
    return prompt, answer


def metric(server: Server) -> Tokens:
    """The server's token counters."""
    found = samples(server.ask("/metrics").body.decode())
    labels = ((("key", ""), ("kind", kind)) for kind in ("prompt", "answer"))
    prompt, answer = (int(found.get(("maritalk_tokens_total", each), 0)) for each in labels)
    return prompt, answer


@pytest.mark.parametrize(("path", "body"), CASES)
def test_log_and_metrics_count_the_reported_usage(shared_server: Server, path: str, body: dict[str, Any]) -> None:
    before = metric(shared_server)
    request = SentRequest(shared_server, path, body)
    usage = reported(request.objects())
    assert min(usage) > 0
    assert request.logged() == usage
    after = metric(shared_server)
    assert (after[0] - before[0], after[1] - before[1]) == usage


LONG = {"max_tokens": 200, "stream": True}
HUNG_UP = [
    ("/generate", {"prompt": PROMPT, **LONG, "n": 2}, 6),
    ("/generate", {"prompt": PROMPT, "max_tokens": 200, "n": 2}, 0),
    ("/v1/completions", {"model": "demo", "prompt": [PROMPT] * 2, **LONG, "ignore_eos": True}, 6),
    ("/v1/chat/completions", {"model": "demo", "messages": CHAT, "max_tokens": 200, "ignore_eos": True}, 0),
    ("/v1/responses", {"model": "demo", "input": PROMPT, "stream": True, "max_output_tokens": 200}, 8),
]


@pytest.mark.parametrize(("path", "body", "events"), HUNG_UP)
def test_a_disconnected_request_counts_its_prompt_and_the_generated_tokens(
    shared_server: Server, path: str, body: dict[str, Any], events: int
) -> None:
    short = {**body, "stream": False, ("max_output_tokens" if "input" in body else "max_tokens"): 1}
    if path == "/generate":
        short["return_usage"] = True
    prompt, _ = reported(SentRequest(shared_server, path, short).objects())
    request = SentRequest(shared_server, path, body)
    if not events:
        # Wait until the engine has the request.
        until(lambda: shared_server.ask().json["status"] == "busy", "the engine's work")
    request.hang_up(events)
    counted = request.logged()
    assert counted[0] == prompt
    # Some of a stream's first events have no text.
    assert max(0, events - 5) <= counted[1] < 400
