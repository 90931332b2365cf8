"""Progress display of a benchmark."""

import os
import pty
import select
import sys

import pytest

from maritalk_vllm.cli import progress_counter
from maritalk_vllm.cli.progress_counter import Counter


def test_progress_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with Counter("2 users", 3) as counting:
        counting.count()
        monkeypatch.setattr(progress_counter, "_LINE_SECONDS", 0)
        counting.count()
        counting.count()
    printed = capsys.readouterr()
    assert printed.err == "2 users: 2 of 3 requests answered\n2 users: 3 of 3 requests answered\n"
    assert printed.out == ""


def test_progress_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with Counter("2 users", 3) as counting:
            for _ in range(3):
                counting.count()
        drawn = ""
        while "3/3" not in drawn:  # one read gives what is drawn so far
            assert select.select([ours], [], [], 10)[0], drawn
            drawn += os.read(ours, 100_000).decode()
    os.close(ours)
    assert "2 users" in drawn
    assert capsys.readouterr().out == ""
