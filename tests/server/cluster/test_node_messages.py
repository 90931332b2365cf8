"""Every message between nodes: each arrives as it was sent, and the stable ones are read across versions."""

import inspect
from typing import Any

import msgspec
import pytest

from maritalk_vllm.server.cluster import node_messages
from maritalk_vllm.server.cluster.node_messages import HELLO, RECEPTION, Challenge, Hello, Refused
from maritalk_vllm.server.messaging.base_message import Message, MessageError
from maritalk_vllm.server.messaging.direction import HEADER_BYTES, Direction
from maritalk_vllm.server.messaging.error_report import ErrorReport
from tests.server.messaging.samples import (
    FILLED_AND_EMPTY,
    assert_same,
    changed,
    invalid_fields,
    sample,
    wire_fields,
)

DIRECTIONS: list[Direction[Any]] = [each for each in vars(node_messages).values() if isinstance(each, Direction)]
MESSAGES = [(direction, kind) for direction in DIRECTIONS for kind in direction.types]
STABLE = {Challenge, Hello, Refused}
NONCE = "0f" * 32

each_message = pytest.mark.parametrize(("direction", "kind"), MESSAGES, ids=[kind.__name__ for _, kind in MESSAGES])


def test_every_message_belongs_to_a_direction() -> None:
    classes = {each for _, each in inspect.getmembers(node_messages, inspect.isclass) if issubclass(each, Message)}
    assert classes - {Message} == {kind for _, kind in MESSAGES}
    assert len(DIRECTIONS) == 4


@each_message
@pytest.mark.parametrize("filled", FILLED_AND_EMPTY)
def test_a_message_arrives_as_it_was_sent(direction: Direction[Any], kind: type[Any], filled: bool) -> None:
    message = sample(kind, filled=filled)
    frame = direction.frame(message)
    content = frame[HEADER_BYTES:]
    assert direction.length(frame[:HEADER_BYTES]) == len(content)
    assert_same(direction.decode(content), message)


@each_message
def test_an_invalid_message_is_an_error_that_names_the_field(direction: Direction[Any], kind: type[Any]) -> None:
    fields = wire_fields(direction, sample(kind, filled=True))
    for problem, change in invalid_fields(kind):
        with pytest.raises(MessageError) as caught:
            direction.decode(changed(fields, change))
        assert problem in caught.value.problem
    with pytest.raises(MessageError, match="its type 'FromTheFuture' is unknown"):
        direction.decode(changed(fields, {"type": "FromTheFuture"}))


@each_message
def test_an_unknown_field_is_ignored_only_in_stable_messages(direction: Direction[Any], kind: type[Any]) -> None:
    message = sample(kind, filled=True)
    content = changed(wire_fields(direction, message), {"from_the_future": {"x": 1}})
    if kind in STABLE:
        assert direction.decode(content) == message
        return
    with pytest.raises(MessageError, match="unknown field `from_the_future`"):
        direction.decode(content)


@pytest.mark.parametrize(
    ("direction", "message", "wire"),
    [
        (RECEPTION, Challenge(NONCE), {"type": "challenge", "nonce": NONCE}),
        (
            HELLO,
            Hello(rank=1, terms={"version": "0.1.0"}, nonce=NONCE, proof="ab"),
            {"type": "hello", "rank": 1, "terms": {"version": "0.1.0"}, "nonce": NONCE, "proof": "ab"},
        ),
        (
            RECEPTION,
            Refused(ErrorReport("UsageError", "Other.", "Update.")),
            {"type": "refused", "error": {"error": "UsageError", "message": "Other.", "hint": "Update."}},
        ),
    ],
)
def test_stable_messages_are_written_as_in_the_first_version(
    direction: Direction[Any], message: Message, wire: dict[str, Any]
) -> None:
    """A change of this test is a change that other versions do not understand."""
    content = direction.encode(message)
    assert msgspec.msgpack.decode(content) == wire
    assert direction.frame(message) == len(content).to_bytes(4, "big") + content


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "hello", "rank": 0},
        {"type": "hello", "rank": -1},
        {"type": "hello", "rank": True},
        {"type": "hello", "rank": 1.5},
        {"type": "hello", "rank": 1, "nonce": "0f" * 31},
        {"type": "hello", "rank": 1, "nonce": "0F" * 32},
        {"type": "hello", "rank": 1, "nonce": "0f" * 32 + "\n"},
        {"type": "hello", "rank": 1, "proof": "a" * 65},
    ],
)
def test_a_hello_with_values_that_no_version_sends_is_an_error(wire: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=r"hello: Expected .* - at `\$\.(rank|nonce|proof)`"):
        HELLO.decode(msgspec.msgpack.encode(wire))


def test_what_follows_the_handshake_is_longer_than_what_precedes_it() -> None:
    """A host that is no node cannot have the leader store much."""
    assert {direction.max_bytes for direction in (HELLO, RECEPTION)} == {64 * 1024}
    assert {direction.max_bytes for direction in DIRECTIONS} == {64 * 1024, 16 * 1024 * 1024}
