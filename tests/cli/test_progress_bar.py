"""Progress bar of uploads, downloads and batches."""

import os
import pty
import select
import sys

import pytest

from maritalk_vllm.cli.progress_bar import ProgressBar


def test_nothing_is_printed_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("Uploading", in_bytes=True) as bar:
        bar.show(1, 2)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.parametrize(("in_bytes", "drawn_last"), [(True, "3.0/5.0 MB"), (False, "3000000/5000000")])
def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, in_bytes: bool, drawn_last: str) -> None:
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    drawn = ""
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with ProgressBar("validating", in_bytes=in_bytes) as bar:
            bar.show(0, None)
            bar.show(3_000_000, 5_000_000, "in_progress")
            while not (drawn_last in drawn and "in_progress" in drawn):  # one read gives what is drawn so far
                assert select.select([ours], [], [], 10)[0], drawn
                drawn += os.read(ours, 100_000).decode()
    os.close(ours)
