"""Limits of request bodies: values, fields and characters."""

import contextlib
import json
import time

import pytest

from maritalk_vllm.api.request_limits import (
    MAX_CONTAINERS,
    MAX_STRINGS,
    MAX_VALUES,
    check_fields,
    check_texts,
    check_values,
)
from maritalk_vllm.errors import RequestError

MESSAGE = {"role": "user", "content": "a"}
LONG_TEXT = ', "\\ [{' * 1_500_000
"""A single string whose 12 million characters look like many values."""


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": LONG_TEXT},
        {"prompt": "\\" * 3_000_000, "stop": ['"'] * 3},
        {"messages": [MESSAGE] * 12_000},
        {"prompt": [1] * 400_000},
        {"prompt": ["a"] * 256, "tools": [{"a": []}] * 1000},
    ],
)
def test_bodies_within_the_limits_are_accepted(body: object) -> None:
    check_values(json.dumps(body).encode())
    check_values(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": [MESSAGE] * 400_000}, r"has 1,600,001 strings, over this server's limit of 50,000\."),
        ({"stop": ['\\"'] * (MAX_STRINGS + 1), "prompt": LONG_TEXT}, r"has 50,004 strings"),
        ({"metadata": [[]] * (MAX_CONTAINERS + 1), "prompt": LONG_TEXT}, r"has 50,003 objects and lists"),
        ({"x": [{}] * (MAX_CONTAINERS + 1)}, r"has 50,003 objects and lists"),
        ({"prompt": [1] * (MAX_VALUES + 1)}, r"has 500,001 values"),
        ({"x": [None] * (MAX_VALUES + 1), "prompt": LONG_TEXT}, r"has 500,002 values"),
    ],
)
def test_too_many_values_are_rejected(body: object, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_values(json.dumps(body).encode())


@pytest.mark.parametrize("body", [b"", b"{", b'"', b"[" * 100, b'{"a": "', b"\xff" * 100, b"\\" * 99])
def test_invalid_json_is_not_rejected_here(body: bytes) -> None:
    check_values(body)


def test_counting_is_fast() -> None:
    """Measured in thread time, independent of the machine's load; takes about a tenth of the limit of half a second."""
    bodies = [b'{"prompt": "' + text * (16_000_000 // len(text)) + b'"}' for text in (b"a", b'\\"', b"\\\\", b", [{")]
    bodies += [b"[" * 16_000_000, b'"' * 16_000_000, b"1," * 8_000_000, b'\\"a",[{' * 2_000_000]
    for body in bodies:
        began = time.thread_time()
        with contextlib.suppress(RequestError):
            check_values(body)
        assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"stop": ["a"] * 65}, r"stop: 65 were given, over this server's limit of 64\."),
        ({"stop_sequences": ["a"] * 65}, r"stop_sequences: 65 were given"),
        ({"bad_words": ["a"] * 257}, r"bad_words: 257 were given, over this server's limit of 256\."),
        ({"model": "m" * 1001}, r"model: the name has 1001 characters, over this server's limit of 1000\."),
    ],
)
def test_too_long_fields_are_rejected(body: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_fields(body)


def test_fields_within_the_limits_are_accepted() -> None:
    check_fields({"stop": ["a"] * 64, "bad_words": ["a"] * 256, "model": "m" * 1000})
    check_fields({"stop": "a" * 1000, "bad_words": None, "model": 7})


PARTS = [{"type": "text", "text": "a" * 50}] * 2


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "a" * 101},
        {"prompt": ["a", "a" * 101]},
        {"messages": [{"role": "user", "content": "a" * 51}] * 2},
        {"messages": [{"role": "user", "content": [*PARTS, {"type": "text", "text": "a"}]}]},
        {"messages": [{"content": "a" * 100}], "system": [{"type": "text", "text": "a"}]},
        {"input": "a" * 101},
        {"input": [{"role": "user", "content": "a" * 100}], "instructions": "a"},
        {"input": [{"type": "function_call_output", "output": "a" * 101}]},
        {"messages": [[{"content": "a"}], [{"content": "a" * 101}]]},
    ],
)
def test_too_long_texts_are_rejected(body: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=r"has 10\d characters, and .* context of 10 tokens holds at most 100\."):
        check_texts(body, 10, 100)


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": ["a" * 100] * 3},
        {"prompt": [1] * 1000},
        {"prompt": 7, "messages": "?"},
        {"messages": [{"role": "user", "content": PARTS}, 7, None]},
        {"input": "a" * 100},
        {"tokens": [1] * 10},
        {"prompt": ["a" * 100] * 4},
        {"messages": [[{"content": "a" * 20}]] * 20},
        {"messages": [[MESSAGE] * 10] * 2},
        {"messages": []},
    ],
)
def test_texts_within_the_limit_are_accepted(body: dict[str, object]) -> None:
    check_texts(body, 10, 100)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": ["a" * 100] * 5}, r"prompts have 500 characters together, over this server's limit of 400"),
        ({"prompt": ["a"] * 401}, r"prompts have 401 characters"),
        ({"messages": [[{"content": "a" * 81}]] * 5}, r"prompts have 405 characters"),
    ],
)
def test_too_long_prompts_in_total_are_rejected(body: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        check_texts(body, 10, 100)
    assert str(caught.value).endswith("Send several requests.")


@pytest.mark.parametrize(("name", "each"), [("tokens", 1), ("messages", MESSAGE), ("input", MESSAGE)])
def test_more_items_than_context_tokens_are_rejected(name: str, each: object) -> None:
    check_texts({name: [each] * 10}, 10, 100)
    with pytest.raises(RequestError, match=f"{name}: 11 were given, and this model's context has 10 tokens"):
        check_texts({name: [each] * 11}, 10, 100)


def test_batch_messages_are_counted_per_conversation() -> None:
    with pytest.raises(RequestError, match="messages: 11 were given"):
        check_texts({"messages": [[MESSAGE], [MESSAGE] * 11]}, 10, 100)
