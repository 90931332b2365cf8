"""Bodies as clients write them: whole numbers with a point, nulls, a byte order mark; and those that are too deep."""

from typing import Any

import pytest

from maritalk_vllm.api.cloud_schema import InferenceRequest
from maritalk_vllm.api.local_schema import ChatGenerateRequest, GenerateRequest
from maritalk_vllm.api.openai_adapter import parse
from maritalk_vllm.api.request_parsing import MAX_LEVELS, read
from maritalk_vllm.errors import RequestError

DEFAULT = GenerateRequest(prompt="a")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('"max_tokens": 2.0', {"max_tokens": 2}),
        ('"max_tokens": 1e3', {"max_tokens": 1000}),
        ('"n": 2.0, "seed": -3.0, "top_k": 4E1', {"n": 2, "seed": -3, "top_k": 40}),
        ('"temperature": 1', {"temperature": 1.0}),
    ],
)
def test_whole_numbers(fields: str, expected: dict[str, int]) -> None:
    asked = read(f'{{"prompt": "a", {fields}}}'.encode(), GenerateRequest)
    assert {name: getattr(asked, name) for name in expected} == expected
    assert all(type(getattr(asked, name)) is type(value) for name, value in expected.items())


@pytest.mark.parametrize("field", GenerateRequest.__struct_fields__)
def test_null_is_the_default(field: str) -> None:
    if field == "prompt":
        with pytest.raises(RequestError, match="prompt: expected str, got null"):
            read(b'{"prompt": null}', GenerateRequest)
    else:
        assert read(f'{{"prompt": "a", "{field}": null}}'.encode(), GenerateRequest) == DEFAULT


@pytest.mark.parametrize(
    "field", ["do_sample", "temperature", "top_p", "chat_mode", "stream", "num_tokens_per_message"]
)
def test_null_is_the_default_of_the_cloud_too(field: str) -> None:
    body = f'{{"messages": "a", "{field}": null}}'.encode()
    assert read(body, InferenceRequest, strict=False) == InferenceRequest(messages="a")


def test_null_is_no_default_where_it_means_something() -> None:
    assert read(b'{"messages": "a", "max_tokens": null}', InferenceRequest, strict=False).max_tokens is None


def test_whole_numbers_of_the_cloud() -> None:
    body = b'{"messages": "a", "max_tokens": 2.0, "num_tokens_per_message": "3", "do_sample": "false"}'
    asked = read(body, InferenceRequest, strict=False)
    assert (asked.max_tokens, asked.num_tokens_per_message, asked.do_sample) == (2, 3, False)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ('"max_tokens": 2.5', "max_tokens: expected int, got float"),
        ('"max_tokens": 0.0', "max_tokens: expected int >= 1"),
        ('"n": 1e400', "number out of range"),
        ('"max_tokens": true', "max_tokens: expected int, got bool"),
        ('"max_tokens": "2"', "max_tokens: expected int, got str"),
        ('"stop_sequences": [null]', "stop_sequences[0]: expected str, got null"),
        ('"messages": []', "prompt and messages were both given"),
    ],
)
def test_what_is_no_whole_number_and_no_default(fields: str, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(f'{{"prompt": "a", {fields}}}'.encode(), GenerateRequest)
    assert says in str(caught.value)


def test_a_null_prompt_beside_messages() -> None:
    asked = read(b'{"prompt": null, "messages": [{"role": "user", "content": "a"}]}', ChatGenerateRequest)
    assert asked.messages[0].content == "a"


def test_a_byte_order_mark() -> None:
    assert read(b'\xef\xbb\xbf{"prompt": "a"}', GenerateRequest) == DEFAULT
    with pytest.raises(RequestError, match="not JSON"):
        read(b'\xef\xbb\xbf\xef\xbb\xbf{"prompt": "a"}', GenerateRequest)


def nested(levels: int, inner: str) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + inner.encode() + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize("inner", ["", "1", '"\\u0041"'])
def test_levels_that_are_read(inner: str) -> None:
    value: Any = parse(nested(MAX_LEVELS, inner))["a"]
    for _ in range(MAX_LEVELS - 1):
        (value,) = value or ("end",)
    assert value in ("end", 1, "A")


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 500, 900, 1100, 100_000])
@pytest.mark.parametrize("inner", ["", "1", '"\\u0000"', '"\\x"', '"\\ud800"', "{"])
def test_levels_that_are_not(levels: int, inner: str) -> None:
    with pytest.raises(RequestError, match=r"not JSON|more than 256 deep"):
        parse(nested(levels, inner))
    with pytest.raises(RequestError, match=r"not JSON|more than 256 deep|not valid"):
        read(nested(levels, inner), GenerateRequest)


def test_a_long_list_is_not_deep() -> None:
    assert len(parse(b'{"a":[' + b",".join([b"{}"] * 10_000) + b"]}")["a"]) == 10_000


def test_nul_is_found_wherever_it_is() -> None:
    for body in (b'{"a": [[{"b": "\\u0000"}]]}', b'{"a": {"\\u0000": 1}}'):
        with pytest.raises(RequestError, match="NUL"):
            parse(body)
    assert parse(b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}
