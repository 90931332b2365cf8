"""The Makefile checks its Python interpreter before it downloads anything."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.documents.pages import ROOT


def interpreter(path: Path, version: str, name: str = "CPython", venv: bool = True, free: int = 0) -> Path:
    """Write a fake interpreter that answers only the two questions of scripts/python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\ncase "$2" in\n*python_implementation*) echo {name} {version} {free} ;;\n'
        f'"import venv, ensurepip") exit {int(not venv)} ;;\n*) echo "it was run: $*" >&2; exit 3 ;;\nesac\n'
    )
    path.chmod(0o755)
    return path


def fake_venv(folder: Path, version: str) -> Path:
    folder.mkdir()
    (folder / "pyvenv.cfg").touch()
    interpreter(folder / "bin" / "python", version)
    return folder


def check(python: Path | str, venv: Path, origin: str = "command line") -> tuple[int, str]:
    command = [ROOT / "scripts" / "python", python, venv, origin]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert result.stdout == ""
    return result.returncode, result.stderr


@pytest.mark.parametrize(
    ("version", "name", "free", "found"),
    [
        ("2.7", "CPython", 0, "CPython 2.7"),
        ("3.10", "CPython", 0, "CPython 3.10"),
        ("3.14", "CPython", 0, "CPython 3.14"),
        ("4.12", "CPython", 0, "CPython 4.12"),
        ("3.11", "PyPy", 0, "PyPy 3.11"),
        ("3.13", "CPython", 1, "CPython 3.13 without the global interpreter lock"),
    ],
)
def test_an_unsupported_python_is_rejected(tmp_path: Path, version: str, name: str, free: int, found: str) -> None:
    python = interpreter(tmp_path / "python", version, name, free=free)
    assert check(python, tmp_path / "none") == (
        1,
        f"{python} is {found}, and CPython 3.11 to 3.13 is needed. "
        "Name another one, for example: make PYTHON=python3.12 serve\n",
    )


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_supported_python_is_accepted(tmp_path: Path, version: str) -> None:
    assert check(interpreter(tmp_path / "python", version), tmp_path / "none") == (0, "")
    assert check(tmp_path / "python", fake_venv(tmp_path / "same", version)) == (0, "")


@pytest.mark.parametrize("python", ["python3.99", "/bin/true", "/bin/false"])
def test_a_program_that_is_no_python_is_rejected(tmp_path: Path, python: str) -> None:
    code, said = check(python, tmp_path / "none")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith(f"There is no Python that runs as {python}: install Python 3.11 to 3.13.")


def test_a_python_without_venv_is_rejected(tmp_path: Path) -> None:
    python = interpreter(tmp_path / "python", "3.12", venv=False)
    assert check(python, tmp_path / ".venv") == (
        1,
        f"{python} has no module venv to make {tmp_path}/.venv with: install it (on Debian and Ubuntu: "
        "apt-get install python3.12-venv).\n",
    )
    # An existing environment needs no venv module.
    assert check(python, fake_venv(tmp_path / ".venv", "3.12")) == (0, "")


def test_an_environment_of_another_python_is_rejected(tmp_path: Path) -> None:
    venv = fake_venv(tmp_path / ".venv", "3.12")
    python = interpreter(tmp_path / "python", "3.11")
    assert check(python, venv) == (
        1,
        f"{venv} was made with CPython 3.12, and {python} is CPython 3.11: remove that folder (make clean), "
        "or leave PYTHON out.\n",
    )
    assert check(python, venv, "environment")[0] == 1
    # make's default is no request of the user: an existing environment is used, whichever version `python3` is now.
    assert check(interpreter(tmp_path / "python", "3.14"), venv, "file") == (0, "")
    assert "CPython 3.10, and" in check(python, fake_venv(tmp_path / "old", "3.10"), "file")[1]


def test_an_environment_without_its_python_is_rejected(tmp_path: Path) -> None:
    venv = fake_venv(tmp_path / ".venv", "3.12")
    (venv / "bin" / "python").unlink()
    said = f"The Python of {venv} does not run any more: remove that folder (make clean).\n"
    assert check(sys.executable, venv) == check(sys.executable, venv, "file") == (1, said)


def test_the_running_python_is_accepted(tmp_path: Path) -> None:
    assert check(sys.executable, tmp_path / "none") == check(sys.executable, Path(sys.prefix)) == (0, "")


@pytest.mark.parametrize("target", ["serve", "install", "test", "lint"])
def test_make_checks_the_python_first(tmp_path: Path, target: str) -> None:
    for name in ("Makefile", "pyproject.toml", "scripts", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    python = interpreter(tmp_path / "python", "3.10")
    command = ["make", "--no-print-directory", f"PYTHON={python}", target]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith(f"{python} is CPython 3.10, and CPython 3.11 to 3.13 is needed.")
    assert result.stdout == ""
    assert not (tmp_path / ".venv").exists()


def test_the_supported_range_is_that_of_the_classifiers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)", "\n".join(project["classifiers"]))]
    assert versions == list(range(versions[0], versions[-1] + 1))
    assert project["requires-python"] == f">=3.{versions[0]},<3.{versions[-1] + 1}"


def test_pythons_reports_missing_interpreters(tmp_path: Path) -> None:
    for name in ("scripts", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "sed", "uname", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))
    make = tools / "make"
    make.write_text('#!/bin/sh\necho "$@"\n')
    make.chmod(0o755)
    interpreter(tools / "python3.12", "3.12")
    result = subprocess.run(
        [tmp_path / "scripts" / "pythons", "3.12", "3.13"],
        cwd=tmp_path,
        env={"PATH": str(tools), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    with_it = "VENV=.venv/pythons/3.12 PYTHON=python3.12"
    assert result.stdout.splitlines() == [
        f"{with_it} .venv/pythons/3.12/.installed-dev",
        f"{with_it} test-unit test-commands test-stub",
    ]
    assert result.stderr == (
        "No index has torch for Python 3.12 here: tests/models/test_checkpoint.py is left out.\n"
        "This machine has no Python 3.13: its tests were not run.\n"
    )
    assert result.returncode == 0
