"""SIGHUP at a closed terminal, under nohup, and without a terminal."""

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
def handle(*_):
    open(sys.argv[1], "a").write("stop " if hangup.terminal_closed() else "reload ")
early = sys.argv[2:] == ["early"]
if early:
    signal.raise_signal(signal.SIGHUP)
    assert hangup.received
signal.signal(signal.SIGHUP, handle)
open(sys.argv[1], "a").write("ready ")
while True:
    time.sleep(0.01)
"""


def program(output: Path, prefix: Sequence[str] = ()) -> list[str]:
    return [*prefix, sys.executable, "-c", PROGRAM, str(output)]


@pytest.mark.parametrize(("prefix", "when_closed"), [((), "stop"), (("nohup",), "reload")])
def test_kill_reloads_and_a_closed_terminal_stops_except_under_nohup(
    tmp_path: Path, prefix: Sequence[str], when_closed: str
) -> None:
    output = tmp_path / "output"
    output.touch()
    pid, terminal = pty.fork()  # child processes must not inherit it and keep it open
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may themselves run under nohup
        os.execvp("sh", ["sh", "-c", 'echo $$ > "$0.pid"; exec "$@"', str(output), *program(output, prefix)])
    os.set_inheritable(terminal, False)
    try:
        until(lambda: "ready" in output.read_text(), "it runs")
        number = int((tmp_path / "output.pid").read_text())
        os.kill(number, signal.SIGHUP)
        until(lambda: output.read_text().split()[1:] == ["reload"], "the signal is handled")
        os.close(terminal)
        until(lambda: len(output.read_text().split()) > 2, "the end of the terminal is handled")
        assert output.read_text().split()[2:] == [when_closed]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_without_a_terminal_sighup_reloads_and_an_early_one_is_remembered(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.touch()
    process = subprocess.Popen([*program(output), "early"], start_new_session=True)
    try:
        until(lambda: "ready" in output.read_text(), "it survives an early SIGHUP")
        process.send_signal(signal.SIGHUP)
        until(lambda: output.read_text().split()[1:] == ["reload"], "the signal is handled")
    finally:
        process.kill()
        process.wait()
