"""Repeated `kill -9` of the engine and of a worker under mixed requests: each gets the answer of an undisturbed run."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.test_kill import is_ready, processes
from tests.counting import samples
from tests.server.test_stub_engine_resume import KILLED_TWICE
from tests.serving import READY_SECONDS, Server, note, until

pytestmark = pytest.mark.chaos

KILLS = int(os.environ.get("CHAOS_KILLS", "3"))
VICTIMS = ("VLLM::EngineCore", "VLLM::Worker", "maritalk: run")
TOKENS = 24

_TEXT = {"prompt": "1 2 3", "max_tokens": TOKENS}
_EMOJI = {"prompt": "😀 olá, ação 🎉 1 2", "max_tokens": TOKENS}
_CHAT = {"messages": [{"role": "user", "content": "sugira três nomes"}], "max_tokens": TOKENS}
_GREEDY = {"temperature": 0}
_LOCAL = {"do_sample": False}

REQUESTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/generate", {**_TEXT, **_LOCAL, "return_usage": True}),
    ("/generate", {**_EMOJI, **_LOCAL, "stream": True}),
    ("/chat/generate", {**_CHAT, **_LOCAL, "stream": True}),
    ("/api/chat/inference", {**_CHAT, **_LOCAL}),
    ("/api/chat/inference", {**_CHAT, **_LOCAL, "stream": True, "num_tokens_per_message": 4}),
    ("/v1/completions", {**_TEXT, "top_k": 1, "n": 2, "logprobs": 2}),
    ("/v1/completions", {**_EMOJI, **_GREEDY, "stream": True, "stream_options": {"include_usage": True}}),
    ("/v1/completions", {**_TEXT, **_GREEDY, "stream": True, "stop": ["1 8", "9 1"], "min_tokens": 6}),
    ("/v1/chat/completions", {**_CHAT, **_GREEDY, "logprobs": True, "top_logprobs": 1}),
    ("/v1/chat/completions", {**_CHAT, "top_k": 1, "stream": True, "n": 2}),
    ("/v1/responses", {"input": "Hello!", "max_output_tokens": TOKENS, **_GREEDY}),
    ("/v1/responses", {"input": "Hello!", "max_output_tokens": TOKENS, **_GREEDY, "stream": True}),
    ("/v1/messages", {**_CHAT, **_GREEDY, "model": "demo"}),
    ("/v1/messages", {**_CHAT, **_GREEDY, "model": "demo", "stream": True}),
)
"""The four APIs: streams and whole answers, with n, logprobs, usage, stop strings and characters of several tokens."""

_DIFFERENT = {
    *("id", "item_id", "created", "created_at", "completed_at", "queue_time", "prompt_time", "generation_time"),
    *("sequence_number", "cached_tokens", "cache_read_input_tokens"),
}
"""What differs between two answers to the same request: ids, times, the number of pieces, and what was in the cache."""

EXACT = ("--dtype", "float32")
"""Flags for vLLM. In bfloat16, the roundings of a prompt and of single tokens decide between nearly equal tokens."""

_TOLERANCE = 1e-3
"""Of logprobs. A prompt and single tokens are computed in other orders."""


def events(body: bytes) -> Iterator[Any]:
    """The JSON values of a response: one, or one for each event of a stream."""
    text = body.decode()
    if text.startswith("{"):
        yield json.loads(text)
        return
    for line in text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def content(value: Any) -> Any:
    """All that a client reads: texts, logprobs, usage and reasons."""
    if isinstance(value, dict):
        return {key: content(each) for key, each in value.items() if key not in _DIFFERENT}
    return [content(each) for each in value] if isinstance(value, list) else value


def merged(body: bytes) -> tuple[dict[object, str], list[Any]]:
    """The text of each answer of a stream, which may be cut into other pieces, and the rest of its events."""
    texts: dict[object, str] = {}
    rest = []
    for event in map(content, events(body)):
        pieces = list(take_pieces(event))
        for index, text in pieces:
            texts[index] = texts.get(index, "") + text
        if not pieces or not is_only_text(event):
            rest.append(event)
    # Several answers to a prompt arrive in any order.
    return texts, sorted(rest, key=json.dumps)


def take_pieces(event: Any) -> Iterator[tuple[object, str]]:
    """Remove the new texts from an event of a stream."""
    match event:
        case {"text": str(text)}:
            yield event.pop("index", 0), event.pop("text")
        case {"type": "content_block_delta", "delta": {"text": str(text)}}:
            yield 0, event["delta"].pop("text")
        case {"type": "response.output_text.delta", "delta": str(text)}:
            yield 0, event.pop("delta")
        case {"choices": list(choices)}:
            for choice in choices:
                text = choice.pop("text", None)
                if text is None:
                    text = choice.get("delta", {}).pop("content", None)
                if text is not None:
                    yield choice["index"], text


def is_only_text(event: Any) -> bool:
    """Whether an event whose text was removed says nothing more."""
    choices = event.get("choices", ())
    return not any(choice.get("finish_reason") or choice.get("delta") for choice in choices)


def is_same(one: Any, other: Any) -> bool:
    """Whether both are equal, floats within the tolerance."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
        case list() | tuple(), list() | tuple():
            return len(one) == len(other) and all(map(is_same, one, other))
        case float(), float():
            return abs(one - other) < _TOLERANCE
    return bool(one == other)


def restarts(server: Server) -> float:
    return samples(server.ask("/metrics").body.decode())["maritalk_engine_restarts_total", ()]


def has_restarted(server: Server, times: int) -> bool:
    return restarts(server) == times and is_ready(server)


def is_gone(server: Server, pid: int) -> bool:
    return pid not in server.processes()


def test_requests_survive_kills_of_the_engine(tmp_path: Path, prepared_cache: Path) -> None:
    flags = ["--", "--distributed-executor-backend", "mp", *EXACT]
    server = Server(tmp_path, "--cache-dir", str(prepared_cache), "--max-restarts", "1000", *flags)
    server.wait_until_ready()
    chance = random.Random(0)
    api = processes(server, "maritalk: serve")
    answered, pauses = 0, []
    try:
        with ThreadPoolExecutor(len(REQUESTS)) as pool:

            def ask(index: int) -> tuple[int, bytes, float]:
                path, body = REQUESTS[index]
                answer = server.ask(path, body, timeout=600)
                return answer.status, answer.body, answer.seconds

            expected = list(pool.map(ask, range(len(REQUESTS))))
            assert [body for status, body, _ in expected if status != 200] == []
            longest = max(seconds for _, _, seconds in expected)
            for number in range(KILLS):
                running = [pool.submit(ask, index) for index in range(len(REQUESTS))]
                time.sleep(chance.uniform(0.1, 0.8) * longest)
                in_flight = sum(not each.done() for each in running)
                (victim,) = processes(server, VICTIMS[number % len(VICTIMS)])
                killed = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                until(partial(is_gone, server, victim), "killed")
                assert server.ask("/livez", timeout=5).status == 200
                until(partial(has_restarted, server, number + 1), "the next engine", READY_SECONDS)
                pauses.append(time.monotonic() - killed)
                for index, each in enumerate(running):
                    status, body, _ = each.result()
                    assert status == 200, body
                    same = is_same(merged(body), merged(expected[index][1]))
                    assert same, (REQUESTS[index], merged(body), merged(expected[index][1]))
                answered += in_flight
        assert processes(server, "maritalk: serve") == api
        assert restarts(server) == KILLS
    finally:
        server.stop()
    note(f"{KILLS} kills: {answered} requests in flight, all answered as without; longest pause {max(pauses):.1f} s")
    assert answered > 0
    assert server.process.returncode == 0


def has_generated(server: Server, more_than: float) -> bool:
    return generated(server) > more_than


def generated(server: Server) -> float:
    """Tokens that the server's engines have generated."""
    found = samples(server.ask("/metrics").body.decode())
    return sum(value for (name, _), value in found.items() if name == "vllm:generation_tokens_total")


@pytest.mark.nightly  # by day: the same decision with the stub engine
def test_a_request_that_kills_engines_is_refused(tmp_path: Path, prepared_cache: Path) -> None:
    """The engine is killed whenever this request runs: it gets 503 after two deaths, and the others their answers."""
    server = Server(tmp_path, "--cache-dir", str(prepared_cache))
    server.wait_until_ready()
    try:
        with ThreadPoolExecutor(16) as pool:
            fatal = pool.submit(server.ask, "/generate", {**_TEXT, **_LOCAL, "max_tokens": 6000}, timeout=600)
            for number in range(2):
                until(partial(has_generated, server, generated(server)), "the fatal request runs", READY_SECONDS)
                others = [pool.submit(server.ask, *request, timeout=600) for request in REQUESTS]
                (victim,) = processes(server, VICTIMS[0])
                os.kill(victim, signal.SIGKILL)
                until(partial(has_restarted, server, number + 1), "the next engine", READY_SECONDS)
                assert {each.result().status for each in others} == {200}
        assert (fatal.result().status, fatal.result().json["error"]) == (503, KILLED_TWICE)
        found = samples(server.ask("/metrics").body.decode())
        assert found["maritalk_refused_total", (("reason", "engine_deaths"),)] == 1
    finally:
        server.stop()
    assert server.process.returncode == 0
