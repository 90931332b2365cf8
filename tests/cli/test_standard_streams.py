"""Standard streams that are closed, full, or read by a program that ends early: no traceback, and the exit code."""

import subprocess
from pathlib import Path

import pytest

from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.commands import run
from tests.serving import BIN
from tests.vllm_build import needs_cpu_build

DEMO = ["--license", EVALUATION_KEY, "--device", "cpu"]
COMMANDS: list[tuple[list[str], int]] = [
    (["maritalk-serve", "--version"], 0),
    (["maritalk-serve", "--dry-run", "--port", "0", *DEMO], 0),
    (["maritalk-serve", "--prot", "1"], 2),
    (["maritalk-vllm", "nothing"], 2),
    (["maritalk-vllm", "plan"], 0),
    (["maritalk-vllm"], 0),
    (["maritalk-vllm", "doctor", "--port", "0", *DEMO], 0),
    (["maritalk-vllm", "config", "show"], 0),
    (["maritalk-vllm", "download", *DEMO], 0),
    (["maritalk-vllm", "health", "--port", "9"], 1),
    (["maritalk-vllm", "license", "keys"], 0),
    (["maritalk-vllm", "chat", "--url", "http://127.0.0.1:9"], 0),
]
PRINTING = [
    ["maritalk-serve", "--help"],
    ["maritalk-vllm", "plan", "--json", "--model", "demo"],
    ["maritalk-vllm", "license", "audit"],
]


def shell(command: list[str], redirections: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    words = [str(BIN / word) if word.startswith("maritalk-") else word for word in command]
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirections}', "bash", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        stdin=subprocess.DEVNULL,
    )


@needs_cpu_build
@pytest.mark.parametrize(("command", "exit_code"), COMMANDS, ids=[" ".join(command[:3]) for command, _ in COMMANDS])
def test_closed_streams(command: list[str], exit_code: int, tmp_path: Path) -> None:
    usual = run(*command, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert usual.returncode == exit_code, usual.stderr
    # All commands start alike: the combinations of closed streams are tested with one that prints to both.
    for redirections in ("<&- 2>&-", ">&-", "<&- >&- 2>&-") if "plan" in command else ("<&- >&- 2>&-",):
        result = shell(command, redirections, tmp_path)
        assert result.returncode == exit_code, (redirections, result.stderr)
        closed = "2>&-" in redirections
        assert result.stderr == ("" if closed else usual.stderr)


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_reader_that_exits_early(command: list[str], tmp_path: Path) -> None:
    """As with `| head -1`: a pipe whose read end is closed before the first byte."""
    result = shell(command, "| exec true; exit ${PIPESTATUS[0]}", tmp_path)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_full_disk(command: list[str], tmp_path: Path) -> None:
    for before in ("", "env PYTHONUNBUFFERED=1"):
        result = shell([*before.split(), *command], ">/dev/full", tmp_path)
        assert result.returncode == 1
        assert result.stderr == f"{command[0]}: The output cannot be written: No space left on device.\n"


@pytest.mark.parametrize(("command", "exit_code"), COMMANDS[2:4])
def test_failing_stderr_keeps_the_exit_code(command: list[str], exit_code: int, tmp_path: Path) -> None:
    """The exit code is that of the error that could not be printed."""
    assert shell(command, "2>/dev/full", tmp_path).returncode == exit_code
    assert shell(command, "2>&1 >/dev/null | true; exit ${PIPESTATUS[0]}", tmp_path).returncode == exit_code
