"""Messages between processes over an IPC channel."""

import contextlib
import multiprocessing
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maritalk_vllm.errors import MariTalkError, UsageError, WeightsError, from_message, to_message
from maritalk_vllm.server.process.ipc_channel import Channel, MessageLost


def test_message_boundaries_are_kept_and_a_closed_end_is_detected() -> None:
    ours, theirs = Channel.pair()
    theirs.send({"event": "a", "text": "ç" * 5000})
    theirs.send({"event": "b"})
    assert ours.receive() == {"event": "a", "text": "ç" * 5000}
    assert ours.receive() == {"event": "b"}
    theirs.close()
    assert ours.receive() is None
    ours.send({"event": "ignored"})
    ours.close()


def test_an_error_keeps_its_class_and_exit_code_in_a_message() -> None:
    for error in (WeightsError("a", "b"), UsageError("c")):
        copy = from_message(to_message(error))
        assert type(copy) is type(error)
        assert (copy.message, copy.hint, copy.exit_code) == (error.message, error.hint, error.exit_code)
    assert type(from_message({"error": "Unknown", "message": "x", "hint": ""})) is MariTalkError


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", [65_536 - 13, 65_536 - 12, 200_000, 300_000, 10_000_000])
def test_a_message_of_any_length_is_sent_in_both_directions(size: int) -> None:
    """The first message fills a packet exactly; the fourth is too long for a socket."""
    ours, theirs = Channel.pair()
    opened = open_files()
    message = {"text": "a" * size}
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        sender.send(message)
        sender.send({"event": "next"})
        assert receiver.receive() == message
        assert receiver.receive() == {"event": "next"}
    ours.send(message)
    theirs.close()
    ours.send(message)
    assert ours.receive() is None
    ours.close()
    assert open_files() == opened - 2


def _send(channel: Channel, number: int) -> None:
    for _ in range(5):
        channel.send({"from": number, "text": str(number) * 100_000})


def test_long_messages_of_several_processes_do_not_interleave() -> None:
    ours, theirs = Channel.pair()
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_send, args=(theirs, number)) for number in range(3)]
    for process in processes:
        process.start()
    theirs.close()
    received = []
    while (message := ours.receive()) is not None:
        assert message["text"] == str(message["from"]) * 100_000
        received.append(message["from"])
    for process in processes:
        process.join()
    ours.close()
    assert sorted(received) == sorted([0, 1, 2] * 5)


def test_a_descriptor_is_sent_with_a_message() -> None:
    ours, theirs = Channel.pair()
    opened = open_files()
    reading, writing = os.pipe()
    theirs.send({"event": "a pipe"}, reading)
    os.close(reading)
    message = ours.receive()
    assert message is not None
    os.write(writing, b"through")
    assert os.read(message.pop("descriptor"), 100) == b"through"
    assert message == {"event": "a pipe"}
    os.close(writing)
    with pytest.raises(OSError, match="too long"):
        theirs.send({"text": "a" * 70_000}, ours.fileno())
    assert not ours.has_message
    assert open_files() == opened + 1
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
    ours, theirs = Channel.pair()
    opened = open_files()
    theirs.send({"event": "connection"}, ours.fileno())
    theirs.send({"text": "a" * 70_000})
    theirs.send({"event": "next"})
    with no_descriptors():
        for _ in range(2):
            with pytest.raises(MessageLost, match="Too many open files"):
                ours.receive()
        assert ours.receive() == {"event": "next"}
        with pytest.raises(OSError, match="Too many open files"):
            theirs.send({"text": "a" * 70_000})
        theirs.try_send({"text": "a" * 70_000})
    assert open_files() == opened
    ours.close()
    theirs.close()


def test_without_wait_sending_to_a_full_queue_raises() -> None:
    ours, theirs = Channel.pair()
    for size in (60_000, 70_000):
        with pytest.raises(BlockingIOError):
            for _ in range(10_000):
                theirs.send({"text": "a" * size}, wait=False)
    ours.close()
    theirs.close()


def test_try_send_never_blocks() -> None:
    ours, theirs = Channel.pair()
    for _ in range(10_000):
        theirs.try_send({"event": "beat"})
    assert ours.has_message
    assert ours.receive() == {"event": "beat"}
    ours.close()
    theirs.try_send({"event": "beat"})
    theirs.close()
