"""What scripts/install prints, with package managers that stand in for uv: one that works, one that fails."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documents.pages import ROOT

LOCKS = ("requirements/cpu.lock", "requirements/dev.lock")


def install(folder: Path, packages: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder of its own, whose package manager is the shell code `packages`."""
    scripts = folder / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "install", scripts)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    for path, code in ((scripts / "packages", packages), (python, "echo Installed maritalk-vllm")):
        path.write_text(f"#!/bin/sh\n{code}\n")
        path.chmod(0o755)
    return subprocess.run(["scripts/install", ".venv", *LOCKS], cwd=folder, capture_output=True, text=True)


def test_each_step_is_one_line_and_the_rest_is_in_the_log(tmp_path: Path) -> None:
    ran = install(tmp_path, 'echo "Installed of $2"')
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second, third = ran.stdout.splitlines()
    assert first.startswith("1/3 Installing vLLM and its packages, for the CPU: ")
    assert second == "2/3 Installing the packages of requirements/dev.lock..."
    assert third == "3/3 Installing maritalk-vllm into .venv..."
    log = (tmp_path / ".venv" / "install.log").read_text()
    assert log == f"Installed of {LOCKS[0]}\nInstalled of {LOCKS[1]}\nInstalled maritalk-vllm\n"


@pytest.mark.parametrize("failing", LOCKS)
def test_a_failure_shows_the_end_of_the_log_and_its_name(tmp_path: Path, failing: str) -> None:
    ran = install(tmp_path, f'seq 100; [ "$2" != {failing} ] || {{ echo "No space left" >&2; exit 2; }}')
    assert ran.returncode == 1
    shown = ran.stderr.splitlines()
    assert shown[-2:] == ["No space left", "The installation failed. All of its output is in .venv/install.log."]
    assert len(shown) == 21
    assert "maritalk-vllm into" not in ran.stdout


def test_make_serve_takes_the_port_of_the_environment() -> None:
    """As the server that it starts would."""
    command = ["make", "--dry-run", "--directory", str(ROOT), "serve"]
    for variables, port in (({"MARITALK_PORT": "9400"}, "9400"), ({}, "9000")):
        shown = subprocess.run(
            command, env={**os.environ, "MAKEFLAGS": "", **variables}, capture_output=True, text=True, check=True
        )
        assert f"--port {port}" in shown.stdout
