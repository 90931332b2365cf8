"""On the real engine: the tokens that the log and the metrics count are those that the answer told its client."""

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
"""Of the prompts, and of all answers."""

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


class Asked:
    """One request, by whose number the log is read."""

    def __init__(self, server: Server, path: str, body: dict[str, Any]) -> None:
        self.number = uuid.uuid4().hex
        self._server = server
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        headers = {"Content-Type": "application/json", "X-Request-Id": self.number}
        self._connection.request("POST", path, json.dumps(body), headers)

    def objects(self) -> list[Any]:
        """The answer's objects: one, or those of a stream's events."""
        answer = self._connection.getresponse()
        body = answer.read().decode()
        self._connection.close()
        assert answer.status == 200, body
        lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
        return [json.loads(line) for line in lines or [body]]

    def hang_up(self, events: int) -> int:
        """Leave after so many events of a stream; without waiting for any answer at 0."""
        if events:
            answer = self._connection.getresponse()
            left = events
            while left:
                left -= answer.readline().startswith(b"data: {")
        assert self._connection.sock is not None
        self._connection.sock.close()
        self._connection.close()
        return events

    def counted(self) -> Tokens:
        """What the log says of it, once it is over."""
        log, found = self._server.engine_log, list[str]()

        def is_logged() -> bool:
            found[:] = [line for line in log.read_text().splitlines() if f"[{self.number}]" in line]
            return bool(found)

        until(is_logged, "the line of a request")
        tokens = re.search(r" (\d+)\+(\d+) tokens", found[0])
        return (int(tokens[1]), int(tokens[2])) if tokens else (0, 0)


def told(objects: list[Any]) -> Tokens:
    """The last figures of an answer, as its API has them."""
    prompt = answer = 0
    for each in objects:
        usage = each.get("response", each).get("usage") or each
        prompt = usage.get("prompt_tokens", usage.get("input_tokens", prompt))
        answer = usage.get("completion_tokens", usage.get("output_tokens", answer))
    return prompt, answer


def metric(server: Server) -> Tokens:
    found = samples(server.ask("/metrics").body.decode())
    labels = ((("key", ""), ("kind", kind)) for kind in ("prompt", "answer"))
    prompt, answer = (int(found.get(("maritalk_tokens_total", each), 0)) for each in labels)
    return prompt, answer


@pytest.mark.parametrize(("path", "body"), CASES)
def test_whole_answers_and_streams(shared_server: Server, path: str, body: dict[str, Any]) -> None:
    before = metric(shared_server)
    asked = Asked(shared_server, path, body)
    usage = told(asked.objects())
    assert min(usage) > 0
    assert asked.counted() == usage
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
def test_a_client_that_hangs_up_pays_for_its_prompt_and_for_what_was_generated(
    shared_server: Server, path: str, body: dict[str, Any], events: int
) -> None:
    short = {**body, "stream": False, ("max_output_tokens" if "input" in body else "max_tokens"): 1}
    if path == "/generate":
        short["return_usage"] = True
    prompt, _ = told(Asked(shared_server, path, short).objects())
    asked = Asked(shared_server, path, body)
    if not events:
        # Until the engine has it.
        until(lambda: shared_server.ask().json["status"] == "busy", "the engine's work")
    asked.hang_up(events)
    counted = asked.counted()
    assert counted[0] == prompt
    # Some of a stream's first events bring no text.
    assert max(0, events - 5) <= counted[1] < 400
