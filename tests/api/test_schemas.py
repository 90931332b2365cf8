"""The wire of MariTalk Local: what is read and what is written, without an engine."""

import json

import pytest

from maritalk_vllm.api.schemas import ChatGenerateRequest, GenerateRequest, answer, read
from maritalk_vllm.engine.generate import Completion, Message, Sampling
from maritalk_vllm.errors import RequestError
from maritalk_vllm.settings import TimeUnit

TODAY = {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "max_tokens": 512, "stop_sequences": [], "seed": None}


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_what_todays_client_posts() -> None:
    request = read(body(prompt="oi", **TODAY), GenerateRequest)
    assert request.content() == "oi"
    assert request.sampling() == Sampling(temperature=0.7, top_p=0.95, max_tokens=512)


def test_defaults_are_what_the_clients_send() -> None:
    assert read(body(prompt="oi"), GenerateRequest).sampling() == Sampling(temperature=0.7, top_p=0.95, max_tokens=512)


def test_a_conversation() -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    request = read(body(messages=messages), ChatGenerateRequest)
    assert request.content() == [Message("system", "a"), Message("user", "b")]


def test_greedy_whatever_the_temperature_says() -> None:
    sampling = read(body(prompt="x", do_sample=False, temperature=3.0, top_p=0.1), GenerateRequest).sampling()
    assert (sampling.temperature, sampling.top_p) == (0.0, 1.0)


@pytest.mark.parametrize("temperature", [0, 0.01, 1, 2.0, 3, 100.5])
def test_temperatures(temperature: float) -> None:
    assert read(body(prompt="x", temperature=temperature), GenerateRequest).sampling().temperature == temperature


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"nothing", "not JSON"),
        (b"", "not JSON"),
        (b'{"prompt": "\xff"}', "not JSON"),
        (b'{"prompt": "x", "temperature": NaN}', "not JSON"),
        (b'{"prompt": "x", "temperature": 1e999}', "temperature: number out of range"),
        (b'{"other": ' + b"[" * 100_000, "not JSON"),
        (b"[]", "expected object"),
        (b"{}", "prompt"),
        (body(prompt=["x"]), "prompt: expected str, got array"),
        (body(prompt="x", do_sample="yes"), "do_sample"),
        (body(prompt="x", temperature=-0.1), "temperature"),
        (body(prompt="x", top_p=0), "top_p"),
        (body(prompt="x", top_p=1.1), "top_p"),
        (body(prompt="x", max_tokens=0), "max_tokens"),
        (body(prompt="x", max_tokens=1.5), "max_tokens"),
        (body(prompt="x", seed=2**63), "seed"),
        (body(prompt="x", stop_sequences="x"), "stop_sequences"),
        (body(prompt="x", stop_sequences=[""]), "stop_sequences"),
        (body(prompt="x", stop_sequences=["x"] * 10_000), "stop_sequences"),
    ],
)
def test_refused_with_the_field_named(content: bytes, says: str) -> None:
    with pytest.raises(RequestError) as refusal:
        read(content, GenerateRequest)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "messages"),
        ("oi", "messages: expected array"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "content"),
        ([{"role": "user", "content": None}], "content"),
    ],
)
def test_conversations_that_are_refused(messages: object, says: str) -> None:
    with pytest.raises(RequestError) as refusal:
        read(body(messages=messages), ChatGenerateRequest)
    assert says in str(refusal.value)


DONE = Completion(text=" São Paulo", queue_time=0.0004, prompt_time=0.1581, generation_time=0.0091)


def test_an_answer_in_milliseconds() -> None:
    assert json.loads(answer(DONE, TimeUnit.MILLISECONDS)) == {
        "output": "São Paulo",
        "queue_time": 0,
        "prompt_time": 158,
        "generation_time": 9,
    }
    assert b".0" not in answer(DONE, TimeUnit.MILLISECONDS)


def test_an_answer_in_seconds() -> None:
    times = json.loads(answer(DONE, TimeUnit.SECONDS))
    assert (times["queue_time"], times["prompt_time"], times["generation_time"]) == (0.0004, 0.1581, 0.0091)
