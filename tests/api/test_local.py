"""The three routes of MariTalk Local on the real engine."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from maritalk_vllm.engine.vllm_arguments import MIN_QUEUED_REQUESTS
from tests.lanes import nightly
from tests.serving import Answer, Server

GREEDY = {"do_sample": False, "max_tokens": 16}


def generate(server: Server, **fields: object) -> Answer:
    return server.ask("/generate", {"prompt": "1 2 3 4 5", **GREEDY, **fields})


def assert_rejected(answer: Answer, *messages: str) -> None:
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"error"}
    for message in messages:
        assert message in answer.json["error"]


def test_status_is_idle(shared_server: Server) -> None:
    answer = shared_server.ask("/")
    assert answer.status == 200
    assert answer.json == {"status": "idle"}
    assert answer.headers["content-type"] == "application/json"


def test_busy_while_a_request_runs(shared_server: Server) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(generate, shared_server, max_tokens=40, prompt="Era uma vez")
        seen = set()
        while not running.done():
            seen.add(shared_server.ask().json["status"])
            time.sleep(0.05)  # on two cores, polling without a pause would slow the engine down
    assert "busy" in seen
    assert shared_server.ask().json == {"status": "idle"}


def test_generate_returns_output_and_times(shared_server: Server) -> None:
    answer = generate(shared_server)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["output"].startswith("6 7 8")
    assert set(answer.json) == {"output", "queue_time", "prompt_time", "generation_time"}
    assert all(type(answer.json[name]) is int for name in answer.json if name != "output")


def test_greedy_is_deterministic_and_ignores_temperature(shared_server: Server) -> None:
    outputs = {generate(shared_server, temperature=t, seed=s).json["output"] for t, s in [(0.7, None), (3.0, 5)]}
    outputs.add(generate(shared_server, do_sample=True, temperature=0).json["output"])
    assert len(outputs) == 1


@pytest.mark.parametrize("temperature", [nightly(0.7), nightly(2.0), 3.0, nightly(50.0)])
def test_a_seed_repeats_an_answer(shared_server: Server, temperature: float) -> None:
    sampled = {"do_sample": True, "temperature": temperature, "top_p": 1.0}
    outputs = [generate(shared_server, **sampled, seed=seed).json["output"] for seed in (1, 1, 2)]
    assert outputs[0] == outputs[1] != outputs[2]


def test_temperature_above_two_is_not_clamped(shared_server: Server) -> None:
    """3 must not be clamped to 2. The model is certain how to continue counting; at 50 its choice is random."""
    counting = {"do_sample": True, "top_p": 1.0, "max_tokens": 2}

    def hits(temperature: float) -> int:
        with ThreadPoolExecutor(20) as pool:
            answers = pool.map(
                lambda seed: generate(shared_server, **counting, temperature=temperature, seed=seed), range(20)
            )
            return sum(answer.json["output"].startswith("6") for answer in answers)

    assert hits(0.5) > hits(2.0) >= hits(50.0)


def test_stop_sequences_end_the_answer_and_are_excluded(shared_server: Server) -> None:
    assert generate(shared_server, stop_sequences=["8"]).json["output"] == "6 7 "
    assert generate(shared_server, stop_sequences=["nope", "7 8"]).json["output"] == "6 "


def test_max_tokens_limits_the_answer(shared_server: Server) -> None:
    assert len(generate(shared_server, max_tokens=2).json["output"].split()) <= 2


def test_the_chat_route_uses_the_models_own_template(shared_server: Server) -> None:
    """A chat and the prompt that the template renders from it give the same answer."""
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    prompt = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n"
    chat = shared_server.ask("/chat/generate", {"messages": [{"role": "user", "content": "Hi!"}], **GREEDY})
    assert chat.json["output"] == generate(shared_server, prompt=prompt).json["output"]
    own = [{"role": "system", "content": "Say no."}, {"role": "user", "content": "Hi!"}]
    assert shared_server.ask("/chat/generate", {"messages": own, **GREEDY}).json["output"] != chat.json["output"]


def test_list_as_prompt_is_rejected(shared_server: Server) -> None:
    """The oldest clients send a conversation passed to generate() in this form."""
    assert_rejected(generate(shared_server, prompt=[{"role": "user", "content": "Hi!"}]), "prompt", "array")


def test_empty_prompt_is_rejected(shared_server: Server) -> None:
    assert_rejected(generate(shared_server, prompt=""), "empty")


def test_too_long_prompt_is_rejected(shared_server: Server) -> None:
    assert_rejected(generate(shared_server, prompt="a b " * 9000), "8192")


def test_body_is_json_whatever_the_content_type(shared_server: Server) -> None:

    request = urllib.request.Request(
        f"http://127.0.0.1:{shared_server.port}/generate", b'{"prompt":"1","max_tokens":1}'
    )
    request.add_header("Content-Type", "text/plain")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def events(answer: Answer) -> list[dict[str, Any]]:
    """The data of each event of a stream; the last event has the type `end`."""
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    *texts, end, rest = answer.body.decode().split("\n\n")
    assert rest == ""
    assert all(text.startswith("data: ") for text in texts)
    assert end.startswith("event: end\ndata: ")
    return [json.loads(text.split("data: ", 1)[1]) for text in (*texts, end)]


def test_stream_has_the_same_text_in_pieces(shared_server: Server) -> None:
    plain = generate(shared_server).json["output"]
    *pieces, end = events(generate(shared_server, stream=True))
    assert len(pieces) > 8
    assert all(set(piece) == {"text"} for piece in pieces)
    assert "".join(piece["text"] for piece in pieces) == end["output"] == plain
    assert set(end) == {"output", "queue_time", "prompt_time", "generation_time"}


def test_streamed_chat_has_the_same_text(shared_server: Server) -> None:
    body = {"messages": [{"role": "user", "content": "Hi!"}], **GREEDY}
    *pieces, _ = events(shared_server.ask("/chat/generate", {**body, "stream": True}))
    plain = shared_server.ask("/chat/generate", body).json["output"]
    assert "".join(piece["text"] for piece in pieces) == plain


def test_n_returns_several_answers(shared_server: Server) -> None:
    body = {"do_sample": True, "temperature": 2.0, "n": 3, "seed": 5, "return_usage": True}
    plain = generate(shared_server, **body).json
    assert len(set(plain["outputs"])) == 3
    assert plain["output"] == plain["outputs"][0]
    assert set(plain["finish_reasons"]) <= {"length", "stop"}
    assert plain["usage"]["completion_tokens"] > 16
    *pieces, end = events(generate(shared_server, **body, stream=True))
    for number, output in enumerate(end["outputs"]):
        assert "".join(piece["text"] for piece in pieces if piece["index"] == number) == output
    assert end["outputs"] == plain["outputs"]


def test_return_usage_adds_usage_and_finish_reason(shared_server: Server) -> None:
    answer = generate(shared_server, return_usage=True).json
    assert answer["usage"] == {"prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25}
    assert answer["finish_reason"] == "length"
    stopped = generate(shared_server, return_usage=True, stop_sequences=["8"]).json
    assert stopped["finish_reason"] == "stop"
    *_, end = events(generate(shared_server, return_usage=True, stream=True))
    assert (end["usage"], end["finish_reason"]) == (answer["usage"], "length")


def test_top_k_and_repetition_penalty_take_effect(shared_server: Server) -> None:
    greedy = generate(shared_server).json["output"]
    hot = {"do_sample": True, "temperature": 50.0, "top_p": 1.0}
    assert generate(shared_server, **hot, top_k=1).json["output"] == greedy
    assert generate(shared_server, repetition_penalty=2.0).json["output"] != greedy


def test_invalid_stream_request_gets_an_error_response(shared_server: Server) -> None:
    assert_rejected(generate(shared_server, stream=True, max_tokens=9000), "9000", "8192")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_wrong_method_gets_405(shared_server: Server, method: str) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{shared_server.port}/generate", method=method)
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request):
        pass
    with caught.value as answer:
        assert (answer.code, answer.headers["Allow"]) == (405, "POST")
        assert json.loads(answer.read()) == {"error": f"{method} is not for /generate. Use POST."}


def _engine_seconds(server: Server) -> float:
    """Queue and inference time of all requests so far in seconds, from the engine's own statistics."""
    text = server.ask("/metrics").body.decode()
    names = ("vllm:request_queue_time_seconds_sum", "vllm:request_inference_time_seconds_sum")
    return sum(float(re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)[0]) for name in names)


@pytest.mark.parametrize("max_tokens", [1, 2, 48])
def test_times_match_the_engines_statistics(shared_server: Server, max_tokens: int) -> None:
    generate(shared_server, max_tokens=1)
    before = _engine_seconds(shared_server)
    answer = generate(shared_server, max_tokens=max_tokens).json
    spent = (_engine_seconds(shared_server) - before) * 1000
    total = answer["queue_time"] + answer["prompt_time"] + answer["generation_time"]
    assert total == pytest.approx(spent, rel=0.05, abs=10)


def test_waiting_counts_as_queue_time(shared_server: Server) -> None:
    """Nearly as many requests at once as every server accepts: some wait, and their queue time shows it."""
    count = MIN_QUEUED_REQUESTS - 6
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: generate(shared_server, max_tokens=2), range(count)))
    assert {answer.status for answer in answers} == {200}
    assert max(answer.json["queue_time"] for answer in answers) > 10
    for answer in answers:
        total = sum(answer.json[name] for name in ("queue_time", "prompt_time", "generation_time"))
        assert total <= answer.seconds * 1000 + 2


@pytest.mark.parametrize("stream", [b"false", b"true"])
def test_disconnect_aborts_the_request(shared_server: Server, stream: bytes) -> None:
    content = b'{"prompt": "Era uma vez", "max_tokens": 8000, "seed": 1, "stream": %s}' % stream
    with socket.create_connection(("127.0.0.1", shared_server.port)) as client:
        head = b"POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        client.sendall(head % len(content) + content)
        while shared_server.ask().json["status"] != "busy":
            time.sleep(0.01)
    deadline = time.monotonic() + 5
    while shared_server.ask().json["status"] != "idle":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_vllms_own_routes_work(shared_server: Server) -> None:
    answer = shared_server.ask(
        "/v1/completions", {"model": "demo", "prompt": "1 2 3 4 5", "max_tokens": 8, "temperature": 0}
    )
    ours = generate(shared_server, max_tokens=8)
    assert answer.json["choices"][0]["text"].removeprefix(" ") == ours.json["output"]
