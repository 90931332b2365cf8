"""The frames of messages, and the errors for what is no message of a direction."""

import struct
from typing import TypeAlias

import msgspec
import pytest

from maritalk_vllm.server.messaging.base_message import Message, MessageError
from maritalk_vllm.server.messaging.direction import HEADER_BYTES, MAX_MESSAGE_BYTES, Direction


class Go(Message, frozen=True):
    """An order with a field."""

    seconds: float


class Stop(Message, frozen=True):
    """An order without one."""


Order: TypeAlias = Go | Stop
ORDERS: Direction[Order] = Direction(Order, "to the engine", 100)
encode = msgspec.msgpack.encode


def test_a_frame_is_a_length_and_a_map_with_the_type() -> None:
    assert ORDERS.frame(Stop()) == b"\0\0\0\x0b" + b"\x81\xa4type\xa4Stop"
    assert ORDERS.length(ORDERS.frame(Stop())[:HEADER_BYTES]) == 11
    assert ORDERS.decode(ORDERS.encode(Go(1.5))) == Go(1.5)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (encode({"type": "Run"}), "its type 'Run' is unknown"),
        (encode({"type": "x\n" * 1000}), "its type 'x\\nx\\n"),
        (encode({"type": "Go"}), "Go: Object missing required field `seconds`"),
        (encode({"type": "Go", "seconds": "1"}), "Go: Expected `float`, got `str` - at `$.seconds`"),
        (encode({"type": "Go", "seconds": 1.0, "then": 2}), "Go: Object contains unknown field `then`"),
        (encode({"type": 1}), "Expected `str`, got `int` - at `$.type`"),
        (encode({"seconds": 1.0}), "Object missing required field `type`"),
        (encode(["Stop"]), "Expected `object`, got `array`"),
        (encode(None), "Expected `object`"),
        (b"", "Input data was truncated"),
        (encode({"type": "Go", "seconds": 1.5})[:-1], "Input data was truncated"),
        (encode({"type": "Stop"}) + b"\xc0", "trailing characters"),
        # Arrays and a text that claim to be long, and nesting that is deep: neither memory nor the stack is used up.
        (b"\x81\xa1x\xdd\xff\xff\xff\xff", "Object missing required field `type`|Input data was truncated"),
        (b"\x81\xa4type\xdb\xff\xff\xff\xff", "Input data was truncated"),
        (b"\x82\xa1x" + b"\x91" * 100_000, "recursion|Input data was truncated"),
        (b"\x81\xa4type\xa2\xff\xff", "invalid start byte"),
    ],
)
def test_an_invalid_message_raises_an_error_that_names_the_reason(content: bytes, problem: str) -> None:
    with pytest.raises(MessageError) as caught:
        ORDERS.decode(content)
    assert any(each in caught.value.problem for each in problem.split("|")), caught.value.problem
    assert caught.value.message == f"A message to the engine is invalid: {caught.value.problem}."
    assert len(caught.value.problem) < 200


def test_a_message_over_the_limit_is_neither_sent_nor_read() -> None:
    limit = "has 11 bytes, over the limit of 10"
    short: Direction[Order] = Direction(Order, "to the engine", 10)
    with pytest.raises(MessageError, match=f"Stop {limit}"):
        short.frame(Stop())
    with pytest.raises(MessageError, match=f"it {limit}"):
        short.length(struct.pack("!I", 11))
    assert short.length(struct.pack("!I", 10)) == 10
    with pytest.raises(MessageError, match="its header ends after 3 of 4 bytes"):
        short.length(b"\0\0\0")
    # What another protocol begins with.
    default: Direction[Order] = Direction(Order, "to the engine")
    assert default.max_bytes == MAX_MESSAGE_BYTES
    for foreign in (b"GET ", b'{"ev', b"\x16\x03\x01\x02", b"SSH-"):
        with pytest.raises(MessageError, match="over the limit"):
            default.length(foreign)


def test_text_that_utf_8_cannot_encode_is_an_error() -> None:
    class Say(Message, frozen=True):
        text: str

    with pytest.raises(MessageError, match="Say has text that UTF-8 cannot encode"):
        Direction[Say](Say, "to the engine").encode(Say("\udc80"))


def test_an_error_never_shows_values() -> None:
    content = encode({"type": "Go", "seconds": {"secret": "s3cret"}, "s3cret": 1})
    with pytest.raises(MessageError) as caught:
        ORDERS.decode(content)
    assert "s3cret" not in str(caught.value)
