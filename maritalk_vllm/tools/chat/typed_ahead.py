"""Keys that are typed while an answer is written."""

import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def kept_for_the_prompt(keyboard: TextIO) -> Iterator[None]:
    """Leave typed keys to the next prompt, without an echo in the answer. Ctrl-C still interrupts.

    Does nothing for an input that is not a terminal.
    """
    if not keyboard.isatty():
        yield
        return
    before = termios.tcgetattr(keyboard)
    quiet = termios.tcgetattr(keyboard)
    # Without ICANON the terminal passes on Backspace and other editing keys, which the prompt then interprets.
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(keyboard, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
