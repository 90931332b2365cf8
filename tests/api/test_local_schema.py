"""The wire of MariTalk Local: what is read and what is written, without an engine."""

import json

import msgspec
import pytest

from maritalk_vllm.api.local_schema import ChatGenerateRequest, GenerateRequest, answer
from maritalk_vllm.api.request_parsing import read
from maritalk_vllm.api.schema_fields import ChatMessage
from maritalk_vllm.engine.completion import Choice, Completion
from maritalk_vllm.engine.sampling import Message, Sampling
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
        (body(prompt="x", n=0), "n: expected int >= 1"),
        (body(prompt="x", n=129), "n: expected int <= 128"),
        (body(prompt="x", top_k=-2), "top_k"),
        (body(prompt="x", repetition_penalty=0), "repetition_penalty"),
        (body(prompt="x", stream="true"), "stream"),
        (body(prompt="x", messages=[{"role": "user", "content": "x"}]), "prompt and messages were both given"),
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


def test_both_a_prompt_and_messages() -> None:
    with pytest.raises(RequestError, match="prompt and messages were both given"):
        read(body(messages=[{"role": "user", "content": "x"}], prompt="x"), ChatGenerateRequest)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (GenerateRequest(prompt="a\0b"), "prompt: character 1 is NUL"),
        (ChatGenerateRequest(messages=[ChatMessage("user", "\0")]), r"messages\[0\].content: character 0 is NUL"),
        (GenerateRequest(prompt="x", stop_sequences=["a", "b\0"]), r"stop_sequences\[1\]: character 1 is NUL"),
    ],
)
def test_nul_is_no_text(asked: GenerateRequest | ChatGenerateRequest, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        asked.content(), asked.sampling()


def test_what_the_old_server_did_not_know() -> None:
    asked = read(body(prompt="x", n=3, top_k=5, repetition_penalty=1.2, stream=True), GenerateRequest)
    assert asked.sampling() == Sampling(
        temperature=0.7, top_p=0.95, max_tokens=512, n=3, top_k=5, repetition_penalty=1.2
    )
    assert asked.stream
    for off in (None, -1, 0):
        assert read(body(prompt="x", top_k=off), GenerateRequest).sampling().top_k == 0


DONE = Completion(
    choices=(Choice(" São Paulo", "stop"), Choice("Rio", "length")),
    prompt_tokens=7,
    completion_tokens=5,
    queue_time=0.0004,
    prompt_time=0.1581,
    generation_time=0.0091,
)
ASKED = GenerateRequest(prompt="x")


def shown(unit: TimeUnit, asked: GenerateRequest = ASKED) -> dict[str, object]:
    return json.loads(msgspec.json.encode(answer(DONE, asked, unit)))


def test_an_answer_in_milliseconds() -> None:
    told = shown(TimeUnit.MILLISECONDS)
    assert list(told) == ["output", "queue_time", "prompt_time", "generation_time"]
    assert list(told.values()) == ["São Paulo", 0, 158, 9]
    assert all(type(value) is int for name, value in told.items() if name != "output")


def test_an_answer_in_seconds() -> None:
    told = shown(TimeUnit.SECONDS)
    assert list(told.values()) == ["São Paulo", 0.0004, 0.1581, 0.0091]


def test_more_is_told_only_if_it_was_asked_for() -> None:
    several = shown(TimeUnit.MILLISECONDS, GenerateRequest(prompt="x", n=2))
    assert several["output"] == "São Paulo"
    assert several["outputs"] == ["São Paulo", "Rio"]
    assert "usage" not in several
    counted = shown(TimeUnit.MILLISECONDS, GenerateRequest(prompt="x", return_usage=True))
    assert counted["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert counted["finish_reason"] == "stop"
    assert not {"outputs", "finish_reasons"} & counted.keys()
    both = shown(TimeUnit.MILLISECONDS, GenerateRequest(prompt="x", n=2, return_usage=True))
    assert both["finish_reasons"] == ["stop", "length"]
