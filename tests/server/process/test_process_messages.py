"""Every message between processes: sent over a real channel, and invalid in each way."""

import inspect
import socket
from typing import Any

import msgspec
import pytest

from maritalk_vllm.server.messaging.base_message import Message, MessageError
from maritalk_vllm.server.messaging.direction import Direction
from maritalk_vllm.server.process import process_messages
from maritalk_vllm.server.process.descriptors import InheritedDescriptor
from maritalk_vllm.server.process.ipc_channel import Channel
from tests.descriptors import open_descriptors
from tests.server.messaging.samples import (
    FILLED_AND_EMPTY,
    assert_same,
    changed,
    close_descriptors,
    frame,
    invalid_fields,
    sample,
    wire_fields,
)

DIRECTIONS: list[Direction[Any]] = [each for each in vars(process_messages).values() if isinstance(each, Direction)]
MESSAGES = [(direction, kind) for direction in DIRECTIONS for kind in direction.types]
each_message = pytest.mark.parametrize(("direction", "kind"), MESSAGES, ids=[kind.__name__ for _, kind in MESSAGES])


def test_every_message_belongs_to_a_direction() -> None:
    classes = {each for _, each in inspect.getmembers(process_messages, inspect.isclass) if issubclass(each, Message)}
    assert classes - {Message} == {kind for _, kind in MESSAGES}
    assert len(DIRECTIONS) == 5


@each_message
@pytest.mark.parametrize("filled", FILLED_AND_EMPTY)
def test_a_message_arrives_as_it_was_sent(direction: Direction[Any], kind: type[Any], filled: bool) -> None:
    opened = open_descriptors()
    ours, theirs = Channel.pair(direction, direction)
    message = sample(kind, filled=filled)
    theirs.send(message)
    received = ours.receive()
    assert_same(received, message)
    for each in (message, received):
        close_descriptors(each)
    ours.close()
    theirs.close()
    assert open_descriptors() == opened


@each_message
def test_an_invalid_message_is_an_error_that_names_the_field(direction: Direction[Any], kind: type[Any]) -> None:
    message = sample(kind, filled=True)
    fields = wire_fields(direction, message)
    close_descriptors(message)
    ours, theirs = Channel.pair(direction, direction)
    for problem, change in [*invalid_fields(kind), ("unknown field `x`", {"x": 1})]:
        theirs._end.send(frame(changed(fields, change)))
        with pytest.raises(MessageError) as caught:
            ours.receive()
        assert caught.value.problem.startswith(f"{kind.__name__}: ")
        # A descriptor that is named, but was not sent, is an error as well.
        assert problem in caught.value.problem or "descriptors" in caught.value.problem
    ours.close()
    theirs.close()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_message_of_another_direction_is_an_error(direction: Direction[Any]) -> None:
    ours, theirs = Channel.pair(direction, direction)
    others = {kind.__name__ for _, kind in MESSAGES} - {each.__name__ for each in direction.types}
    for name in [*others, "FromTheFuture"]:
        theirs._end.send(frame(msgspec.msgpack.encode({"type": name})))
        with pytest.raises(MessageError, match=f"its type '{name}' is unknown"):
            ours.receive()
    ours.close()
    theirs.close()


def test_no_message_shows_a_private_key() -> None:
    options = sample(process_messages.ServingOptions, filled=True)
    assert options.access.certificate.key == "ação"
    assert "key=" not in repr(options.access.certificate)


def test_a_listener_is_passed_by_its_number() -> None:
    """Unlike a Descriptor, it needs no room in the packet: the receiver has inherited it."""
    with socket.socket() as listener:
        job = sample(process_messages.RunFollower, filled=True)
        job = msgspec.structs.replace(job, listener=InheritedDescriptor(listener.fileno()))
        ours, theirs = Channel.pair(process_messages.JOBS, process_messages.JOBS)
        theirs.send(job)
        received = ours.receive()
        assert isinstance(received, process_messages.RunFollower)
        assert received.listener == listener.fileno()
        ours.close()
        theirs.close()
