"""Parsing of lenient JSON: integral floats, nulls, a byte order mark; and the limit of nesting."""

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
def test_integral_floats_become_integers(fields: str, expected: dict[str, int]) -> None:
    request = read(f'{{"prompt": "a", {fields}}}'.encode(), GenerateRequest)
    assert {name: getattr(request, name) for name in expected} == expected
    assert all(type(getattr(request, name)) is type(value) for name, value in expected.items())


@pytest.mark.parametrize("field", GenerateRequest.__struct_fields__)
def test_null_means_the_default(field: str) -> None:
    if field == "prompt":
        with pytest.raises(RequestError, match="prompt: expected str, got null"):
            read(b'{"prompt": null}', GenerateRequest)
    else:
        assert read(f'{{"prompt": "a", "{field}": null}}'.encode(), GenerateRequest) == DEFAULT


@pytest.mark.parametrize(
    "field", ["do_sample", "temperature", "top_p", "chat_mode", "stream", "num_tokens_per_message"]
)
def test_null_means_the_default_in_the_cloud_api(field: str) -> None:
    body = f'{{"messages": "a", "{field}": null}}'.encode()
    assert read(body, InferenceRequest, strict=False) == InferenceRequest(messages="a")


def test_null_is_kept_where_it_has_a_meaning() -> None:
    assert read(b'{"messages": "a", "max_tokens": null}', InferenceRequest, strict=False).max_tokens is None


def test_integral_floats_in_the_cloud_api() -> None:
    body = b'{"messages": "a", "max_tokens": 2.0, "num_tokens_per_message": "3", "do_sample": "false"}'
    request = read(body, InferenceRequest, strict=False)
    assert (request.max_tokens, request.num_tokens_per_message, request.do_sample) == (2, 3, False)


@pytest.mark.parametrize(
    ("fields", "message"),
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
def test_other_types_are_rejected(fields: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(f'{{"prompt": "a", {fields}}}'.encode(), GenerateRequest)
    assert message in str(caught.value)


def test_null_prompt_with_messages_is_accepted() -> None:
    request = read(b'{"prompt": null, "messages": [{"role": "user", "content": "a"}]}', ChatGenerateRequest)
    assert request.messages[0].content == "a"


def test_byte_order_mark_is_skipped() -> None:
    assert read(b'\xef\xbb\xbf{"prompt": "a"}', GenerateRequest) == DEFAULT
    with pytest.raises(RequestError, match="not JSON"):
        read(b'\xef\xbb\xbf\xef\xbb\xbf{"prompt": "a"}', GenerateRequest)


def nested(levels: int, inner: str) -> bytes:
    return b'{"a":' + b"[" * (levels - 1) + inner.encode() + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize("inner", ["", "1", '"\\u0041"'])
def test_nesting_within_the_limit_is_accepted(inner: str) -> None:
    value: Any = parse(nested(MAX_LEVELS, inner))["a"]
    for _ in range(MAX_LEVELS - 1):
        (value,) = value or ("end",)
    assert value in ("end", 1, "A")


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 500, 900, 1100, 100_000])
@pytest.mark.parametrize("inner", ["", "1", '"\\u0000"', '"\\x"', '"\\ud800"', "{"])
def test_deeper_nesting_is_rejected(levels: int, inner: str) -> None:
    with pytest.raises(RequestError, match=r"not JSON|more than 256 deep"):
        parse(nested(levels, inner))
    with pytest.raises(RequestError, match=r"not JSON|more than 256 deep|not valid"):
        read(nested(levels, inner), GenerateRequest)


def test_long_list_is_not_nested() -> None:
    assert len(parse(b'{"a":[' + b",".join([b"{}"] * 10_000) + b"]}")["a"]) == 10_000


def test_nul_is_found_at_any_depth() -> None:
    for body in (b'{"a": [[{"b": "\\u0000"}]]}', b'{"a": {"\\u0000": 1}}'):
        with pytest.raises(RequestError, match="NUL"):
            parse(body)
    assert parse(b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}
