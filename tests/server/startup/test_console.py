"""The console of a start: one bar on a terminal, plain lines elsewhere."""

import io
import os
import pty
import re
import select
import sys
import time
from collections.abc import Iterator
from typing import TextIO

import pytest

from maritalk_vllm.i18n.message import msg
from maritalk_vllm.server.startup import console as console_module
from maritalk_vllm.server.startup.console import Console

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SECONDS = 10
STEPS = (("Importing vLLM", None), ("Loading weights", 0.5), ("Compiling", None))


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, TextIO]]:
    """A terminal: the end that shows what is written, and the stream that a program writes to."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("DISABLE_LOADING", raising=False)
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield ours, stream
    os.close(ours)


def line_of(descriptor: int, step: str, end: str = "") -> str:
    """The bar's next line for a step that ends like this, both patterns, without control codes.

    The terminal passes on what is written in pieces. The next refresh begins with a carriage return.
    """
    text, deadline = "", time.monotonic() + SECONDS
    while not (found := re.search(rf"{step} [^\r]*{end}(?=\r)", text)):
        assert time.monotonic() < deadline and select.select([descriptor], [], [], SECONDS)[0], text
        text = CODES.sub("", text + os.read(descriptor, 10_000).decode(errors="replace"))
    return found[0]


def test_a_terminal_shows_each_step_in_one_bar(terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor, stream = terminal
    monkeypatch.setattr(sys, "stdout", stream)
    console = Console()
    shown = []
    for step, fraction in STEPS:
        console.progress(step, fraction)
        shown.append(line_of(descriptor, step))
    console.stop()
    # A percentage only where it is known: elsewhere the bar moves from side to side.
    assert ["%" in line for line in shown] == [False, True, False]
    assert "50%" in shown[1]
    # No time of a step that has just begun.
    assert not any(re.search(r"\d s\b", line) for line in shown)


def test_a_terminal_shows_the_time_of_a_long_step(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updated without another call. Another step, or the same one of another start, begins at 0."""
    descriptor, stream = terminal
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(console_module, "_TIME_AFTER_SECONDS", 0)
    console = Console()
    console.progress(msg("Loading weights {done}/{total}", done=1, total=3), 1 / 3)
    line_of(descriptor, "Loading weights 1/3", " 0 s")
    line_of(descriptor, "Loading weights 1/3", " 1 s")
    console.progress(msg("Loading weights {done}/{total}", done=2, total=3), 2 / 3)
    assert line_of(descriptor, "Loading weights 2/3", r" \d+ s")[-4:] != " 0 s"
    console.progress("Compiling")
    line_of(descriptor, "Compiling", " 0 s")
    line_of(descriptor, "Compiling", " 1 s")
    console.engine_event("The engine died.")
    console.progress("Compiling")
    line_of(descriptor, "Compiling", " 0 s")
    console.warming_up()
    line_of(descriptor, "Warming up", " 0 s")
    console.stop()


def test_other_outputs_get_a_line_for_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    console = Console()
    for step, fraction in STEPS:
        for _ in range(2):
            console.progress(step, fraction)
    assert stream.getvalue().splitlines() == ["Importing vLLM...", "Loading weights (50%)...", "Compiling..."]
