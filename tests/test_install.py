"""What scripts/install prints, with package managers that stand in for uv: one that works, one that fails."""

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents.pages import ROOT

LOCKS = ("requirements/cpu.lock", "requirements/dev.lock")
PYTHON = """\
case "$*" in
"-c import platform"*) echo 3.11.7 ;;
"-m venv .venv") echo Created && mkdir .venv/bin && cp "$0" .venv/bin/python ;;
*) echo Installed maritalk-vllm ;;
esac"""
"""An interpreter that creates an environment with a copy of itself."""


COMMAND = ["scripts/install", ".venv", *LOCKS]


def install(
    folder: Path, packages: str, python: str = ".venv/bin/python", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder of its own, whose package manager is the shell code `packages`.

    `python` is the interpreter there is: that of an existing environment, or one that can create it.
    """
    prepare(folder, packages, python)
    return subprocess.run(
        COMMAND, cwd=folder, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True
    )


def prepare(folder: Path, packages: str, python: str = ".venv/bin/python") -> None:
    scripts = folder / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "install", scripts)
    (folder / python).parent.mkdir(parents=True, exist_ok=True)
    for path, code in ((scripts / "packages", packages), (folder / python, PYTHON)):
        path.write_text(f"#!/bin/sh\n{code}\n")
        path.chmod(0o755)


def test_each_step_is_one_line_and_the_rest_is_in_the_log(tmp_path: Path) -> None:
    ran = install(tmp_path, 'echo "Installed of $2"')
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second, third = ran.stdout.splitlines()
    assert first.startswith("1/3 Installing vLLM and its packages, for the CPU: ")
    assert second == "2/3 Installing the packages of requirements/dev.lock..."
    assert third == "3/3 Installing maritalk-vllm into .venv..."
    log = (tmp_path / ".venv" / "install.log").read_text()
    assert log == f"Installed of {LOCKS[0]}\nInstalled of {LOCKS[1]}\nInstalled maritalk-vllm\n"


def at_a_terminal(folder: Path) -> tuple[int, str]:
    """Run the prepared script at a terminal. Returns its exit code and all that it wrote there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(COMMAND, cwd=folder, env={"PATH": os.environ["PATH"]}, stdout=theirs, stderr=theirs) as run:
        os.close(theirs)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:  # no process has the terminal open any more
            pass
    os.close(ours)
    return run.returncode, written.decode()


def test_at_a_terminal_a_step_counts_its_seconds_on_one_line(tmp_path: Path) -> None:
    prepare(tmp_path, f'[ "$2" != {LOCKS[0]} ] || sleep 2.5')
    code, written = at_a_terminal(tmp_path)
    assert code == 0
    lines = written.split("\r\n")
    assert [line.rsplit("\r", 1)[-1][:4] for line in lines] == ["1/3 ", "2/3 ", "3/3 ", ""]
    assert re.findall(r"\r(1/3  \d+ s)", lines[1])[:2] == ["1/3  1 s", "1/3  2 s"]


def test_a_failure_at_a_terminal_replaces_the_seconds(tmp_path: Path) -> None:
    prepare(tmp_path, "sleep 1.5; echo No space left; exit 2")
    code, written = at_a_terminal(tmp_path)
    assert code == 1
    lines = [line.rsplit("\r", 1)[-1] for line in written.split("\r\n")]
    assert lines[1:] == ["No space left", "The installation failed. All of its output is in .venv/install.log.", ""]


@pytest.mark.parametrize("failing", LOCKS)
def test_a_failure_shows_the_end_of_the_log_and_its_name(tmp_path: Path, failing: str) -> None:
    ran = install(tmp_path, f'seq 100; [ "$2" != {failing} ] || {{ echo "No space left" >&2; exit 2; }}')
    assert ran.returncode == 1
    shown = ran.stderr.splitlines()
    assert shown[-2:] == ["No space left", "The installation failed. All of its output is in .venv/install.log."]
    assert len(shown) == 21
    assert "maritalk-vllm into" not in ran.stdout


def test_a_new_environment_is_the_first_step(tmp_path: Path) -> None:
    """It takes some seconds, in which nothing else would be printed."""
    ran = install(tmp_path, 'echo "Installed of $2"', "bin/python3.11", PYTHON="bin/python3.11")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second, _, fourth, last = ran.stdout.splitlines()
    assert first == "1/4 Creating .venv with Python 3.11.7..."
    assert second.startswith("2/4 Installing vLLM and its packages, for the CPU: ")
    assert fourth == "4/4 Installing maritalk-vllm into .venv..."
    assert last.endswith(" are in .venv/bin. Activate it with: source .venv/bin/activate")
    assert (tmp_path / ".venv" / "install.log").read_text().startswith(f"Created\nInstalled of {LOCKS[0]}\n")


@pytest.mark.parametrize(
    ("environment", "portuguese"),
    [
        ({"LANG": "pt_BR.UTF-8"}, True),
        ({"LANG": "pt_BR.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "pt_BR"}, True),
        ({"LANG": "en_US.UTF-8", "MARITALK_LANG": "pt"}, True),
        ({"LANG": "pt_BR.UTF-8", "MARITALK_LANG": "en"}, False),
        ({}, False),
    ],
)
def test_the_steps_are_in_the_language_of_the_commands(
    tmp_path: Path, environment: dict[str, str], portuguese: bool
) -> None:
    ran = install(tmp_path, ":", "bin/python3", PYTHON="bin/python3", **environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    *steps, last = (line.split() for line in ran.stdout.splitlines())
    first_words = ["Criando", *["Instalando"] * 3, "Os"] if portuguese else ["Creating", *["Installing"] * 3, "The"]
    assert [*(step[1] for step in steps), last[0]] == first_words


def test_make_serve_takes_the_port_of_the_environment() -> None:
    """As the server that it starts would."""
    command = ["make", "--dry-run", "--directory", str(ROOT), "serve"]
    for variables, port in (({"MARITALK_PORT": "9400"}, "9400"), ({}, "9000")):
        shown = subprocess.run(
            command, env={**os.environ, "MAKEFLAGS": "", **variables}, capture_output=True, text=True, check=True
        )
        assert f"--port {port}" in shown.stdout
