"""Request and response schemas of MariTalk's legacy cloud API, without an engine."""

import json

import msgspec
import pytest

from maritalk_vllm.api.cloud_schema import InferenceRequest, answer, end
from maritalk_vllm.api.request_parsing import read
from maritalk_vllm.engine.completion import Choice, Completion
from maritalk_vllm.engine.sampling import Message, Sampling
from maritalk_vllm.errors import RequestError


def parse(**fields: object) -> InferenceRequest:
    return read(json.dumps({"messages": "oi", **fields}).encode(), InferenceRequest, strict=False)


SWAGGER = {
    "messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}],
    "chat_mode": True,
    "max_tokens": 1,
    "model": "sabia-2-small",
    "do_sample": True,
    "temperature": 0.6,
    "top_p": 0.9,
    "repetition_penalty": 1.5,
    "stopping_tokens": ["x"],
    "stream": False,
    "num_tokens_per_message": 4,
}


def test_every_documented_field_is_parsed() -> None:
    request = parse(**SWAGGER)
    assert request.content() == [Message("system", "a"), Message("user", "b")]
    assert request.sampling() == Sampling(temperature=0.6, top_p=0.9, max_tokens=1, stop=("x",), repetition_penalty=1.5)


def test_defaults_of_sampling() -> None:
    assert parse().sampling() == Sampling(temperature=0.7, top_p=0.95, max_tokens=512)
    assert not parse().stream


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({}, [Message("user", "oi")]),
        ({"chat_mode": True}, [Message("user", "oi")]),
        ({"chat_mode": False}, "oi"),
        ({"chat_mode": "False"}, "oi"),
        ({"use_chat_template": "False"}, "oi"),
        ({"use_chat_template": "True"}, [Message("user", "oi")]),
        ({"messages": "null"}, [Message("user", "null")]),
        ({"messages": [{"role": "user", "content": "oi"}]}, [Message("user", "oi")]),
    ],
)
def test_messages_become_a_text_or_a_conversation(fields: dict[str, object], content: object) -> None:
    assert parse(**fields).content() == content


def test_max_tokens_may_be_null() -> None:
    assert parse(max_tokens=None).sampling().max_tokens is None


def test_booleans_and_numbers_may_be_strings() -> None:
    sampling = parse(do_sample="False", temperature="0.5", max_tokens="7").sampling()
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 7)
    assert parse(stream="true").stream


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": [{"role": "user", "content": "x"}], "chat_mode": False}, "chat_mode false"),
        ({"messages": "a\0"}, "messages: character 1 is NUL"),
        ({"messages": [{"role": "user", "content": "\0"}]}, "messages[0].content: character 0 is NUL"),
        ({"stopping_tokens": ["\0"]}, "stopping_tokens[0]: character 0 is NUL"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"do_sample": "perhaps"}, "do_sample"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "nan"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 2}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"num_tokens_per_message": 0}, "num_tokens_per_message"),
        ({"stopping_tokens": ["x"] * 10_000}, "stopping_tokens"),
    ],
)
def test_invalid_field_is_named_in_the_error(fields: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        request = parse(**fields)
        request.content(), request.sampling()
    assert message in str(caught.value)


DONE = Completion(
    choices=(Choice(" Oi!", "stop"),),
    prompt_tokens=3,
    completion_tokens=15,
    queue_time=0,
    prompt_time=0,
    generation_time=0,
)
USAGE = {"completion_tokens": 15, "prompt_tokens": 3, "total_tokens": 18}


def test_usage_is_nested_in_a_response_and_flat_in_the_end_event() -> None:
    assert msgspec.to_builtins(answer(DONE, "m")) == {"answer": " Oi!", "usage": USAGE, "model": "m"}
    assert msgspec.to_builtins(end(DONE, "m")) == {**USAGE, "model": "m"}
