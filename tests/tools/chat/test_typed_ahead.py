"""Keys that are typed during an answer, on a real terminal device."""

import os
import pty
import select
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.tools.chat.typed_ahead import kept_for_the_prompt

TYPED = b"e depois?\x7f\n"
SECONDS = 0.3


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: that of the person, and that of the program."""
    person, program = pty.openpty()
    yield person, program
    os.close(person)
    os.close(program)


def received(descriptor: int) -> bytes:
    found = b""
    while select.select([descriptor], [], [], SECONDS)[0]:
        found += os.read(descriptor, 100)
    return found


def test_keys_are_not_echoed_and_the_prompt_gets_them(terminal: tuple[int, int]) -> None:
    person, program = terminal
    with os.fdopen(os.dup(program)) as keyboard:
        before = termios.tcgetattr(keyboard)
        with kept_for_the_prompt(keyboard):
            os.write(person, TYPED)
            assert received(person) == b""
            # Ctrl-C interrupts the answer.
            assert termios.tcgetattr(keyboard)[3] & termios.ISIG
        assert termios.tcgetattr(keyboard) == before
        # The prompt's editor reads in raw mode.
        tty.setraw(keyboard, termios.TCSANOW)
        assert received(program) == TYPED


def test_an_input_that_is_no_terminal_is_not_changed() -> None:
    with Path(os.devnull).open() as keyboard, kept_for_the_prompt(keyboard):
        pass
