"""Messages between processes."""

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


def test_messages_stay_apart_and_the_end_is_seen() -> None:
    here, there = Channel.pair()
    there.send({"event": "a", "text": "ç" * 5000})
    there.send({"event": "b"})
    assert here.receive() == {"event": "a", "text": "ç" * 5000}
    assert here.receive() == {"event": "b"}
    there.close()
    assert here.receive() is None
    here.send({"event": "into the void"})
    here.close()


def test_an_error_crosses_with_its_exit_code() -> None:
    for error in (WeightsError("a", "b"), UsageError("c")):
        copy = from_message(to_message(error))
        assert type(copy) is type(error)
        assert (copy.message, copy.hint, copy.exit_code) == (error.message, error.hint, error.exit_code)
    assert type(from_message({"error": "Unheard", "message": "x", "hint": ""})) is MariTalkError


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("size", [65_536 - 13, 65_536 - 12, 200_000, 300_000, 10_000_000])
def test_a_message_of_any_length_in_both_directions(size: int) -> None:
    """The first fills a packet to the byte; a socket refuses the fourth."""
    here, there = Channel.pair()
    opened = open_files()
    message = {"text": "a" * size}
    for sender, receiver in ((here, there), (there, here)):
        sender.send(message)
        sender.send({"event": "next"})
        assert receiver.receive() == message
        assert receiver.receive() == {"event": "next"}
    here.send(message)
    there.close()
    here.send(message)
    assert here.receive() is None
    here.close()
    assert open_files() == opened - 2


def _send(channel: Channel, number: int) -> None:
    for _ in range(5):
        channel.send({"from": number, "text": str(number) * 100_000})


def test_long_messages_of_several_processes_stay_apart() -> None:
    here, there = Channel.pair()
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_send, args=(there, number)) for number in range(3)]
    for process in processes:
        process.start()
    there.close()
    received = []
    while (message := here.receive()) is not None:
        assert message["text"] == str(message["from"]) * 100_000
        received.append(message["from"])
    for process in processes:
        process.join()
    here.close()
    assert sorted(received) == sorted([0, 1, 2] * 5)


def test_a_descriptor_goes_with_a_message() -> None:
    here, there = Channel.pair()
    opened = open_files()
    reading, writing = os.pipe()
    there.send({"event": "a pipe"}, reading)
    os.close(reading)
    message = here.receive()
    assert message is not None
    os.write(writing, b"through")
    assert os.read(message.pop("descriptor"), 100) == b"through"
    assert message == {"event": "a pipe"}
    os.close(writing)
    with pytest.raises(OSError, match="too long"):
        there.send({"text": "a" * 70_000}, here.fileno())
    assert not here.has_message
    assert open_files() == opened + 1
    here.close()
    there.close()


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Without room for another one in this process."""
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


def test_a_message_whose_file_cannot_be_opened_is_said_to_be_lost() -> None:
    """And the next one comes."""
    here, there = Channel.pair()
    opened = open_files()
    there.send({"event": "connection"}, here.fileno())
    there.send({"text": "a" * 70_000})
    there.send({"event": "next"})
    with no_descriptors():
        for _ in range(2):
            with pytest.raises(MessageLost, match="Too many open files"):
                here.receive()
        assert here.receive() == {"event": "next"}
        with pytest.raises(OSError, match="Too many open files"):
            there.send({"text": "a" * 70_000})
        there.send_if_taken({"text": "a" * 70_000})
    assert open_files() == opened
    here.close()
    there.close()


def test_without_waiting_a_message_is_refused_when_the_other_end_is_behind() -> None:
    here, there = Channel.pair()
    for size in (60_000, 70_000):
        with pytest.raises(BlockingIOError):
            for _ in range(10_000):
                there.send({"text": "a" * size}, wait=False)
    here.close()
    there.close()


def test_a_sign_of_life_waits_for_nobody() -> None:
    here, there = Channel.pair()
    for _ in range(10_000):
        there.send_if_taken({"event": "beat"})
    assert here.has_message
    assert here.receive() == {"event": "beat"}
    here.close()
    there.send_if_taken({"event": "beat"})
    there.close()
