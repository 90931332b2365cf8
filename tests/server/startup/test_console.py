"""The console of a start: one bar on a terminal, plain lines elsewhere."""

import io
import os
import pty
import re
import select
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

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


def line_of(descriptor: int, step: str) -> str:
    """The bar's next line for a step, without control codes. The terminal passes on what is written in pieces."""
    text = ""
    while not (found := re.search(rf"{step} .*\d:\d\d:\d\d", text)):
        assert select.select([descriptor], [], [], SECONDS)[0], text
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


def test_other_outputs_get_a_line_for_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    console = Console()
    for step, fraction in STEPS:
        for _ in range(2):
            console.progress(step, fraction)
    assert stream.getvalue().splitlines() == ["Importing vLLM...", "Loading weights (50%)...", "Compiling..."]
