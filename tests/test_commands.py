"""A forked command is indistinguishable from the installed program."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import commands
from tests.commands import run, start

PROBE = """
import atexit, json, locale, os, signal, sys, threading
atexit.register(lambda: print("at the end", file=sys.stderr))
streams = [sys.stdin, sys.stdout, sys.stderr]
print(json.dumps({
    "arguments": sys.argv, "original": sys.orig_argv[-3:], "path": sys.path, "main": sys.modules["__main__"].__file__,
    "folder": os.getcwd(), "umask": oct(os.umask(0)), "environment": dict(os.environ), "locale": locale.getlocale(),
    "leads its session": os.getsid(0) == os.getpid(), "same group": os.getpgid(0) == int(sys.argv[1]),
    "streams": [[each.name, each.mode, each.encoding, each.errors, each.newlines, each.line_buffering, each.isatty(),
        each.fileno(), each.closed, each.write_through] for each in streams],
    "descriptors": sorted(os.listdir("/proc/self/fd"))[:-1],
    "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "threads": threading.active_count(),
    "limits": open("/proc/self/limits").read(), "warnings": sys.warnoptions, "flags": list(sys.flags),
    "read": sys.stdin.readline() if sys.argv[2] == "read" else None,
}))
if sys.argv[2] == "raise":
    raise ValueError("a sentence")
if sys.argv[2] == "interrupt":
    os.kill(os.getpid(), signal.SIGINT)
if sys.argv[2] == "kill":
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "sentence":
    sys.exit("a sentence")
sys.exit(int(sys.argv[2]) if sys.argv[2].isdigit() else None)
"""


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A program that prints its own process state, in a folder that stands in for that of our programs."""
    program = tmp_path / "bin" / "probe"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{PROBE}")
    program.chmod(0o755)
    monkeypatch.setattr(commands, "BIN", program.parent)
    start("probe", os.getpgid(0), 0, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait()
    yield "probe"


@pytest.mark.parametrize("manner", ["0", "3", "end", "sentence", "raise", "interrupt", "kill", "read"])
def test_a_forked_command_has_the_process_state_of_an_installed_program(probe: str, manner: str) -> None:
    given: dict[str, Any] = {"input": "one line\n"} if manner == "read" else {}
    really, forked = (
        run(probe, os.getpgid(0), manner, "ç", fork=fork, env={**os.environ, "MARITALK_X": "é"}, **given)
        for fork in (False, True)
    )
    assert json.loads(forked.stdout) == json.loads(really.stdout)
    assert forked.returncode == really.returncode
    assert forked.stderr.splitlines()[-2:] == really.stderr.splitlines()[-2:]
    assert ("at the end" in forked.stderr) == (manner != "kill")


def test_a_forked_command_inherits_no_descriptor_of_a_running_one(probe: str) -> None:
    with start("maritalk-vllm", "chat", "--url", "http://127.0.0.1:9", stdin=subprocess.PIPE) as process:
        seen = json.loads(run(probe, os.getpgid(0), 0).stdout)
        assert seen["descriptors"] == ["0", "1", "2"]
        process.kill()


def test_a_forked_command_has_its_own_folder_umask_and_session(probe: str, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        own: dict[str, Any] = {"cwd": tmp_path, "new_session": True}
        really, forked = (run(probe, os.getpgid(0), 0, fork=fork, **own) for fork in (False, True))
    finally:
        os.umask(before)
    seen = json.loads(forked.stdout)
    assert seen == json.loads(really.stdout)
    assert (seen["folder"], seen["umask"], seen["leads its session"]) == (str(tmp_path), "0o27", True)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_forked_command_opens_a_terminal_as_python_does(probe: str, unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    start(probe, os.getpgid(0), "0", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).wait()
    seen = []
    for fork in (False, True):
        ours, theirs = pty.openpty()
        with start(
            probe, os.getpgid(0), "0", fork=fork, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            text = b""
            while not text.endswith(b"at the end\r\n"):
                text += os.read(ours, 100_000)
        os.close(ours)
        seen.append((process.returncode, json.loads(text.splitlines()[0])))
    assert seen[0] == seen[1]
    assert seen[0][1]["streams"][1][6] is True


@pytest.mark.parametrize(
    "command",
    [
        ("maritalk-vllm", "config", "show"),
        ("maritalk-vllm", "--lang", "pt", "plan", "--gpus", "3xA10,1xT4", "--model", "medium"),
        ("maritalk-vllm", "license", "inspect", "nothing"),
        ("maritalk-serve", "--help"),
        ("maritalk-serve", "--model", "mediun"),
        ("maritalk-serve", "--license", "AAAAA", "--device", "cpu"),
    ],
    ids=" ".join,
)
def test_our_commands_print_the_same_when_forked(command: tuple[str, ...]) -> None:
    run("maritalk-vllm", "--help")
    really, forked = run(*command, fork=False), run(*command)
    assert (forked.returncode, forked.stdout, forked.stderr) == (really.returncode, really.stdout, really.stderr)


def test_a_forked_command_is_signalled_and_reaped() -> None:
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, -signal.SIGTERM)):
        run("maritalk-vllm", "--help")
        with start("maritalk-vllm", "chat", "--url", "http://127.0.0.1:9", stdin=subprocess.PIPE) as process:
            assert isinstance(process, commands._Forked)
            assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
            process.send_signal(number)
            assert process.wait(timeout=30) == status
        assert process.poll() == status
        assert not Path(f"/proc/{process.pid}").exists()


def test_forked_commands_run_in_parallel_and_in_other_environments(tmp_path: Path) -> None:
    """A variable that is read during import gets a fork server of its own."""
    run("maritalk-vllm", "--help")
    with (
        start("maritalk-vllm", "config", "show", stdout=subprocess.PIPE) as one,
        start("maritalk-vllm", "--help", stdout=subprocess.PIPE) as other,
    ):
        assert other.communicate()[0].startswith("Usage:")
        assert "9000" in one.communicate()[0]
    for _ in range(2):
        shown = run("maritalk-vllm", "config", "show", env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
        assert str(tmp_path) in shown.stdout
