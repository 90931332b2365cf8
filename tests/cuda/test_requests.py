"""Kinds of requests on one GPU, four that share a model, and two replicas: our server, vLLM's engine, a null worker.

The worker's tokens are known by arithmetic, so that an answer that another request was meant to get is noticed.
"""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cuda.host import CudaServer, Host
from tests.serving import until

pytestmark = pytest.mark.cuda

LAYOUTS = {
    "A100": (),
    "4xA10": ("--tensor-parallel-size", "4"),
    "2xH100": ("--replicas", "2"),
}
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "conte uma história"}]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "boolean"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=LAYOUTS)
def server(
    request: pytest.FixtureRequest, drivers: Path, split_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CudaServer]:
    """A ready server on each of the hosts. No process initialises CUDA until it has stopped."""
    folder = tmp_path_factory.mktemp(request.param)
    host = Host(request.param, drivers, folder / "initialised")
    server = CudaServer(host, folder, "--model", str(split_model), *LAYOUTS[request.param])
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
    assert server.process.returncode == 0
    assert host.initialised_by() == []


def tokens_of(prompt: list[int], number: int) -> list[int]:
    """What benchmarks/null_worker.py answers."""
    return [300 + (sum(prompt) + place * 7919) % 90 for place in range(number)]


def chat(server: CudaServer, **more: Any) -> dict[str, Any]:
    answer = server.ask(CHAT, {"messages": MESSAGES, "ignore_eos": True, **more})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def stream(server: CudaServer, **more: Any) -> tuple[str, list[dict[str, Any]], int]:
    """The text of a streamed chat, its choices, and the number of its tokens."""
    events = server.streamed(CHAT, {"messages": MESSAGES, "ignore_eos": True, **more})
    choices = [choice for event in events for choice in event["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, choices, events[-1]["usage"]["completion_tokens"]


def whole(server: CudaServer) -> str:
    """The text of an answer of 200 tokens."""
    text = chat(server, max_tokens=200)["choices"][0]["message"]["content"]
    assert isinstance(text, str) and len(text) > 200
    return text


def test_an_answer_has_the_tokens_of_its_prompt(server: CudaServer) -> None:
    answer = chat(server, max_tokens=200, return_token_ids=True)
    (choice,) = answer["choices"]
    assert choice["token_ids"] == tokens_of(answer["prompt_token_ids"], 200)
    assert (choice["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 200)


def test_a_streamed_answer_is_the_whole_one(server: CudaServer) -> None:
    """The answer takes 0.4 s, and its tokens are sent at most 30 times a second."""
    text, choices, tokens = stream(server, max_tokens=200)
    assert (text, tokens) == (whole(server), 200)
    assert len(choices) > 6


def test_a_stop_string_ends_an_answer(server: CudaServer) -> None:
    text = whole(server)
    stop = text[60:66]
    expected = text[: text.index(stop)]
    (choice,) = chat(server, max_tokens=200, stop=[stop])["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (expected, "stop")
    assert stream(server, max_tokens=200, stop=[stop])[0] == expected


def test_logprobs_are_those_of_each_token(server: CudaServer) -> None:
    wanted = {"max_tokens": 40, "logprobs": True, "top_logprobs": 2}
    assert len(chat(server, **wanted)["choices"][0]["logprobs"]["content"]) == 40
    _, choices, _ = stream(server, **wanted)
    assert sum(len(choice["logprobs"]["content"]) for choice in choices if choice.get("logprobs")) == 40


def test_a_choice_is_one_of_the_given(server: CudaServer) -> None:
    choices = ["sim", "talvez não"]
    answer = chat(server, max_tokens=40, ignore_eos=False, structured_outputs={"choice": choices})
    assert answer["choices"][0]["message"]["content"] in choices


def test_an_answer_in_json_follows_its_schema(server: CudaServer) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    answer = chat(server, max_tokens=400, ignore_eos=False, response_format=form)
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop", choice
    assert list(json.loads(choice["message"]["content"])) == ["a"]


def test_several_answers_to_one_prompt(server: CudaServer) -> None:
    answer = chat(server, max_tokens=30, n=2)
    assert len(answer["choices"]) == 2
    assert answer["usage"]["completion_tokens"] == 60


def test_several_prompts_in_one_request(server: CudaServer) -> None:
    body = {"prompt": ["um", "dois", "três"], "max_tokens": 25, "ignore_eos": True, "return_token_ids": True}
    choices = server.ask(COMPLETIONS, body).json["choices"]
    assert [choice["token_ids"] for choice in choices] == [
        tokens_of(choice["prompt_token_ids"], 25) for choice in choices
    ]
    assert len(choices) == 3


def test_logprobs_of_the_prompt(server: CudaServer) -> None:
    body = {"prompt": "um dois três quatro", "max_tokens": 5, "prompt_logprobs": 1, "return_token_ids": True}
    (choice,) = server.ask(COMPLETIONS, body).json["choices"]
    assert choice["prompt_logprobs"][0] is None
    assert len(choice["prompt_logprobs"]) == len(choice["prompt_token_ids"])


def test_an_answer_ends_with_its_client(server: CudaServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = json.dumps({"messages": MESSAGES, "max_tokens": 1800, "ignore_eos": True, "stream": True})
    connection.request("POST", CHAT, body, {"content-type": "application/json"})
    response = connection.getresponse()
    assert response.readline()
    until(lambda: server.counters()["vllm:num_requests_running"] == 1, "the request counted", 3)
    response.close()
    connection.close()
    until(lambda: server.counters()["vllm:num_requests_running"] == 0, "the request aborted", 3)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_many_requests_at_once_and_the_counters_after_them(server: CudaServer, streamed: bool) -> None:
    before = server.counters()

    def ask(number: int) -> int:
        messages = [{"role": "user", "content": f"{number} " + "palavra " * (number * 7)}]
        if streamed:
            return stream(server, messages=messages, max_tokens=100)[2]
        answer = chat(server, messages=messages, max_tokens=100, return_token_ids=True)
        assert answer["choices"][0]["token_ids"] == tokens_of(answer["prompt_token_ids"], 100)
        return int(answer["usage"]["completion_tokens"])

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, range(64))) == [100] * 64
    after = server.counters()
    for name, expected in (("generation_tokens_total", 6400), ("request_success_total", 64)):
        assert after[f"vllm:{name}"] - before[f"vllm:{name}"] == expected
    assert after["vllm:num_requests_running"] == 0


def test_routes_of_maritalk_local(server: CudaServer) -> None:
    for path, key in (("/generate", "prompt"), ("/chat/generate", "messages")):
        body = {key: MESSAGES if key == "messages" else "1 2 3", "max_tokens": 20, "return_usage": True}
        answer = server.ask(path, body)
        assert answer.status == 200, answer.body
        assert answer.json["usage"]["completion_tokens"] == 20
