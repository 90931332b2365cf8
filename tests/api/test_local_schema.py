"""Request and response schemas of MariTalk Local, without an engine."""

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

CURRENT_CLIENT = {
    "do_sample": True,
    "temperature": 0.7,
    "top_p": 0.95,
    "max_tokens": 512,
    "stop_sequences": [],
    "seed": None,
}


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_request_of_the_current_client() -> None:
    request = read(body(prompt="oi", **CURRENT_CLIENT), GenerateRequest)
    assert request.content() == "oi"
    assert request.sampling() == Sampling(temperature=0.7, top_p=0.95, max_tokens=512)


def test_defaults_equal_those_of_the_clients() -> None:
    assert read(body(prompt="oi"), GenerateRequest).sampling() == Sampling(temperature=0.7, top_p=0.95, max_tokens=512)


def test_conversation_becomes_messages() -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    request = read(body(messages=messages), ChatGenerateRequest)
    assert request.content() == [Message("system", "a"), Message("user", "b")]


def test_do_sample_false_ignores_temperature_and_top_p() -> None:
    sampling = read(body(prompt="x", do_sample=False, temperature=3.0, top_p=0.1), GenerateRequest).sampling()
    assert (sampling.temperature, sampling.top_p) == (0.0, 1.0)


@pytest.mark.parametrize("temperature", [0, 0.01, 1, 2.0, 3, 100.5])
def test_any_temperature_is_accepted(temperature: float) -> None:
    assert read(body(prompt="x", temperature=temperature), GenerateRequest).sampling().temperature == temperature


@pytest.mark.parametrize(
    ("content", "message"),
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
def test_invalid_field_is_named_in_the_error(content: bytes, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(content, GenerateRequest)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages"),
        ("oi", "messages: expected array"),
        ([{"role": "robot", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "content"),
        ([{"role": "user", "content": None}], "content"),
    ],
)
def test_invalid_conversation_is_rejected(messages: object, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(body(messages=messages), ChatGenerateRequest)
    assert message in str(caught.value)


def test_prompt_and_messages_together_are_rejected() -> None:
    with pytest.raises(RequestError, match="prompt and messages were both given"):
        read(body(messages=[{"role": "user", "content": "x"}], prompt="x"), ChatGenerateRequest)


@pytest.mark.parametrize(
    ("parsed", "message"),
    [
        (GenerateRequest(prompt="a\0b"), "prompt: character 1 is NUL"),
        (ChatGenerateRequest(messages=[ChatMessage("user", "\0")]), r"messages\[0\].content: character 0 is NUL"),
        (GenerateRequest(prompt="x", stop_sequences=["a", "b\0"]), r"stop_sequences\[1\]: character 1 is NUL"),
    ],
)
def test_nul_character_is_rejected(parsed: GenerateRequest | ChatGenerateRequest, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parsed.content(), parsed.sampling()


def test_fields_that_the_original_server_lacked() -> None:
    request = read(body(prompt="x", n=3, top_k=5, repetition_penalty=1.2, stream=True), GenerateRequest)
    assert request.sampling() == Sampling(
        temperature=0.7, top_p=0.95, max_tokens=512, n=3, top_k=5, repetition_penalty=1.2
    )
    assert request.stream
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
REQUEST = GenerateRequest(prompt="x")


def response(unit: TimeUnit, request: GenerateRequest = REQUEST) -> dict[str, object]:
    return json.loads(msgspec.json.encode(answer(DONE, request, unit)))


def test_times_in_milliseconds_are_integers() -> None:
    body_fields = response(TimeUnit.MILLISECONDS)
    assert list(body_fields) == ["output", "queue_time", "prompt_time", "generation_time"]
    assert list(body_fields.values()) == ["São Paulo", 0, 158, 9]
    assert all(type(value) is int for name, value in body_fields.items() if name != "output")


def test_times_in_seconds_are_floats() -> None:
    body_fields = response(TimeUnit.SECONDS)
    assert list(body_fields.values()) == ["São Paulo", 0.0004, 0.1581, 0.0091]


def test_optional_fields_are_present_only_on_request() -> None:
    multiple = response(TimeUnit.MILLISECONDS, GenerateRequest(prompt="x", n=2))
    assert multiple["output"] == "São Paulo"
    assert multiple["outputs"] == ["São Paulo", "Rio"]
    assert "usage" not in multiple
    with_usage = response(TimeUnit.MILLISECONDS, GenerateRequest(prompt="x", return_usage=True))
    assert with_usage["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    assert with_usage["finish_reason"] == "stop"
    assert not {"outputs", "finish_reasons"} & with_usage.keys()
    both = response(TimeUnit.MILLISECONDS, GenerateRequest(prompt="x", n=2, return_usage=True))
    assert both["finish_reasons"] == ["stop", "length"]
