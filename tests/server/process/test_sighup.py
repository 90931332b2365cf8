"""SIGHUP: of a terminal that was closed, under nohup, and without a terminal."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.serving import until

PROGRAM = """
import signal, sys, time
from maritalk_vllm.server.process.sighup import HangupSignal
hangup = HangupSignal()
heard = []
def hear(*_):
    heard.append("end" if hangup.asks_to_end() else "reload")
    open(sys.argv[1], "a").write(heard[-1] + " ")
early = sys.argv[2:] == ["early"]
if early:
    signal.raise_signal(signal.SIGHUP)
    assert hangup.came
signal.signal(signal.SIGHUP, hear)
open(sys.argv[1], "a").write("ready ")
while True:
    time.sleep(0.01)
"""


def program(said: Path, before: Sequence[str] = ()) -> list[str]:
    return [*before, sys.executable, "-c", PROGRAM, str(said)]


@pytest.mark.parametrize(("before", "asked", "closed"), [((), "reload", "end"), (("nohup",), "reload", "reload")])
def test_at_a_terminal(tmp_path: Path, before: Sequence[str], asked: str, closed: str) -> None:
    """By `kill -HUP`, and when its terminal is closed."""
    said = tmp_path / "said"
    said.touch()
    pid, terminal = pty.fork()  # which other processes would inherit, and keep open
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may themselves run under nohup
        os.execvp("sh", ["sh", "-c", 'echo $$ > "$0.pid"; exec "$@"', str(said), *program(said, before)])
    os.set_inheritable(terminal, False)
    try:
        until(lambda: "ready" in said.read_text(), "it runs")
        number = int((tmp_path / "said.pid").read_text())
        os.kill(number, signal.SIGHUP)
        until(lambda: said.read_text().split()[1:] == [asked], "it was asked")
        os.close(terminal)
        until(lambda: len(said.read_text().split()) > 2, "the terminal is closed")
        assert said.read_text().split()[2:] == [closed]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_without_a_terminal_and_before_it_is_listened_to(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.touch()
    process = subprocess.Popen([*program(said), "early"], start_new_session=True)
    try:
        until(lambda: "ready" in said.read_text(), "it outlives one that comes early")
        process.send_signal(signal.SIGHUP)
        until(lambda: said.read_text().split()[1:] == ["reload"], "it was asked")
    finally:
        process.kill()
        process.wait()
