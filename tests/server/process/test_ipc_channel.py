"""Messages between processes over an IPC channel."""

import contextlib
import multiprocessing
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from maritalk_vllm.server.messaging.base_message import Message, MessageError
from maritalk_vllm.server.messaging.direction import Direction
from maritalk_vllm.server.process import ipc_channel
from maritalk_vllm.server.process.descriptors import Descriptor
from maritalk_vllm.server.process.ipc_channel import Channel, MessageLost
from tests.descriptors import open_descriptors
from tests.server.messaging.samples import frame


class Text(Message, frozen=True):
    """A message of any length."""

    text: str
    number: int = 0


class Beat(Message, frozen=True):
    """A short message."""


class File(Message, frozen=True):
    """A message with descriptors."""

    first: Descriptor
    text: str = ""
    second: Descriptor | None = None


AnyMessage: TypeAlias = Text | Beat | File
ANY: Direction[AnyMessage] = Direction(AnyMessage, "of the test", 11_000_000)
TwoWayChannel: TypeAlias = Channel[AnyMessage, AnyMessage]

FRAME_BYTES = len(ANY.frame(Text("a" * 60_000))) - 60_000
"""What a frame has beside the text, if that is too long for one byte of length."""


def pair() -> tuple[TwoWayChannel, TwoWayChannel]:
    return Channel.pair(ANY, ANY)


def test_message_boundaries_are_kept_and_a_closed_end_is_detected() -> None:
    ours, theirs = pair()
    theirs.send(Text("ç" * 5000))
    theirs.send(Beat())
    assert ours.receive() == Text("ç" * 5000)
    assert ours.receive() == Beat()
    theirs.close()
    assert ours.receive() is None
    ours.send(Beat())
    ours.close()


@pytest.mark.parametrize("size", [65_536 - FRAME_BYTES, 65_537 - FRAME_BYTES, 200_000, 300_000, 10_000_000])
def test_a_message_of_any_length_is_sent_in_both_directions(size: int) -> None:
    """The first message fills a packet exactly; the fourth is too long for a socket."""
    ours, theirs = pair()
    opened = open_descriptors()
    message = Text("a" * size)
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        sender.send(message)
        sender.send(Beat())
        assert receiver.receive() == message
        assert receiver.receive() == Beat()
    ours.send(message)
    theirs.close()
    ours.send(message)
    assert ours.receive() is None
    ours.close()
    assert open_descriptors() == opened - 2


def test_a_message_over_the_limit_is_an_error_for_the_sender_and_the_receiver() -> None:
    ours, theirs = pair()
    with pytest.raises(MessageError, match=r"Text has \d+ bytes, over the limit of 11000000"):
        theirs.send(Text("a" * 11_000_000))
    assert not ours.has_message
    theirs._end.send((11_000_001).to_bytes(4, "big"))
    with pytest.raises(MessageError, match="it has 11000001 bytes, over the limit of 11000000"):
        ours.receive()
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (b"\0\0", "its header ends after 2 of 4 bytes"),
        (b"\0\0\0\x05", "it has 0 of 5 bytes"),
        (frame(b"12345")[:-1], "it has 4 of 5 bytes"),
        (frame(b"12345") + b"6", "it has 6 of 5 bytes"),
        (frame(b"a" * 70_000), "it has 65532 of 70000 bytes"),
        (b"\0\0\0\0", "Input data was truncated"),
    ],
)
def test_a_broken_packet_is_an_error_and_the_next_is_received(packet: bytes, problem: str) -> None:
    ours, theirs = pair()
    theirs._end.send(packet)
    theirs.send(Beat())
    with pytest.raises(MessageError, match=problem):
        ours.receive()
    assert ours.receive() == Beat()
    ours.close()
    theirs.close()


def test_a_file_that_does_not_hold_the_whole_message_is_an_error() -> None:
    ours, theirs = pair()
    opened = open_descriptors()
    for size in (99, 101):
        with os.fdopen(os.memfd_create("message"), "w+b") as file:
            file.write(b"a" * size)
            file.flush()
            socket.send_fds(theirs._end, [(100).to_bytes(4, "big")], [file.fileno()])
        with pytest.raises(MessageError, match=f"it has {size} of 100 bytes"):
            ours.receive()
    assert open_descriptors() == opened
    ours.close()
    theirs.close()


def _send(channel: TwoWayChannel, number: int) -> None:
    for _ in range(5):
        channel.send(Text(str(number) * 100_000, number))


def test_long_messages_of_several_processes_do_not_interleave() -> None:
    ours, theirs = pair()
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_send, args=(theirs, number)) for number in range(3)]
    for process in processes:
        process.start()
    theirs.close()
    received = []
    while (message := ours.receive()) is not None:
        assert isinstance(message, Text)
        assert message.text == str(message.number) * 100_000
        received.append(message.number)
    for process in processes:
        process.join()
    ours.close()
    assert sorted(received) == sorted([0, 1, 2] * 5)


@pytest.mark.parametrize("size", [0, 70_000])
def test_descriptors_are_sent_with_a_message_of_any_length(size: int) -> None:
    ours, theirs = pair()
    opened = open_descriptors()
    pipes = [os.pipe(), os.pipe()]
    theirs.send(File(Descriptor(pipes[0][0]), "a" * size, Descriptor(pipes[1][0])))
    for reading, _ in pipes:
        os.close(reading)
    message = ours.receive()
    assert isinstance(message, File)
    assert message.second is not None
    for (_, writing), received in zip(pipes, (message.first, message.second), strict=True):
        os.write(writing, str(writing).encode())
        assert os.read(received.number, 100) == str(writing).encode()
        os.close(writing)
        received.close()
    assert message.text == "a" * size
    assert open_descriptors() == opened
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ([], "0 descriptors, and not number 0"),
        ([0, 0], "it has 2 descriptors, and names 1"),
        ([0] * ipc_channel._MAX_DESCRIPTORS, "and names 1"),
    ],
)
def test_descriptors_that_a_message_does_not_name_are_closed(sent: list[int], problem: str) -> None:
    ours, theirs = pair()
    opened = open_descriptors()
    content = ANY.encode(File(Descriptor(0)), lambda value: 0)
    socket.send_fds(theirs._end, [frame(content)], sent)
    with pytest.raises(MessageError, match=problem):
        ours.receive()
    assert open_descriptors() == opened
    ours.close()
    theirs.close()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Use up all file descriptors of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(int(each.name) for each in Path("/proc/self/fd").iterdir()) - 1, hard)
    )
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_message_without_a_free_descriptor_is_reported_as_lost() -> None:
    """The next message is received."""
    ours, theirs = pair()
    opened = open_descriptors()
    theirs.send(File(Descriptor(ours.fileno())))
    theirs.send(Text("a" * 70_000))
    theirs.send(Beat())
    with no_descriptors():
        for _ in range(2):
            with pytest.raises(MessageLost, match="Too many open files"):
                ours.receive()
        assert ours.receive() == Beat()
        with pytest.raises(OSError, match="Too many open files"):
            theirs.send(Text("a" * 70_000))
        theirs.try_send(Text("a" * 70_000))
    assert open_descriptors() == opened
    ours.close()
    theirs.close()


def test_without_wait_sending_to_a_full_queue_raises() -> None:
    ours, theirs = pair()
    for size in (60_000, 70_000):
        with pytest.raises(BlockingIOError):
            for _ in range(10_000):
                theirs.send(Text("a" * size), wait=False)
    ours.close()
    theirs.close()


def test_try_send_never_blocks() -> None:
    ours, theirs = pair()
    for _ in range(10_000):
        theirs.try_send(Beat())
    assert ours.has_message
    assert ours.receive() == Beat()
    ours.close()
    theirs.try_send(Beat())
    theirs.close()
