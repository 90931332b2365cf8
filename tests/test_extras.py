"""Packages that only some commands need: without them, a command says what to install, and all others work."""

import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from maritalk_vllm.errors import EngineError
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from tests.tools.chat.fake_server import fake_server

pytestmark = pytest.mark.commands

ROOT = Path(__file__).parent.parent
EXTRAS = {"bench": "aiohttp", "chat": "prompt-toolkit", "plot": "matplotlib"}
WITHOUT = """
import importlib, sys
sys.modules.update(dict.fromkeys(["aiohttp", "matplotlib", "prompt_toolkit"]))  # as if they were not installed
sys.argv = sys.argv[1:]
importlib.import_module(f"maritalk_vllm.cli.{'serve' if sys.argv[0] == 'maritalk-serve' else 'tools_app'}").main()
"""

PLAIN_INSTALLATION = """
import sys
from importlib import metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

def required(name, extras, found):
    if (name, extras) not in found:
        found.add((name, extras))
        for text in metadata.requires(name) or ():
            each = Requirement(text)
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras or [""]):
                required(canonicalize_name(each.name), tuple(each.extras), found)

found = set()
required("maritalk-vllm", (), found)
installed = {name for name, _ in found}

class NotInstalled:
    missing = {
        module
        for module, names in metadata.packages_distributions().items()
        if not installed & set(map(canonicalize_name, names))
    }

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def version(name, version_of=metadata.version):
    if canonicalize_name(name) not in installed:
        raise metadata.PackageNotFoundError(name)
    return version_of(name)

sys.meta_path.insert(0, NotInstalled())
metadata.version = version
"""
"""Makes the modules of all extras, such as vLLM's own dependencies, look as if they were not installed."""


def run(*command: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run one of our commands where none of the packages can be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *command],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


CLONE = ("In a clone of the repository", "Em um clone do repositório")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            ("maritalk-vllm", "bench"),
            'maritalk-vllm bench needs the package aiohttp. In a clone of the repository: pip install ".[bench]".',
        ),
        (
            ("maritalk-vllm", "plan", "--model", "small", "--gpus", "L4", "--users", "9", "--plot", "day.png"),
            '--plot needs the package matplotlib. In a clone of the repository: pip install ".[plot]".',
        ),
        (
            ("maritalk-serve", "--interactive", "--license", EVALUATION_KEY, "--device", "cpu", "--port", "0"),
            '--interactive needs the package prompt-toolkit. In a clone of the repository: pip install ".[chat]".',
        ),
    ],
)
def test_a_command_without_its_package_says_what_to_install(command: tuple[str, ...], sentence: str) -> None:
    result = run(*command)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"{command[0]}: {sentence}\n")
    translated = sentence.replace("needs the package", "precisa do pacote").replace(*CLONE)
    assert run(*command, MARITALK_LANG="pt").stderr == f"{command[0]}: {translated}\n"


def test_a_chat_needs_its_package_only_at_a_terminal() -> None:
    with fake_server() as (_, server):
        ours, theirs = pty.openpty()
        command = ("maritalk-vllm", "chat", "--url", server.url)
        with os.fdopen(theirs, "r+b", buffering=0) as terminal, os.fdopen(ours, "rb"):
            result = subprocess.run(
                [sys.executable, "-c", WITHOUT, *command], stdin=terminal, stdout=terminal, stderr=subprocess.PIPE
            )
        assert result.returncode == 2
        assert result.stderr.decode() == (
            "maritalk-vllm: maritalk-vllm chat needs the package prompt-toolkit. "
            'In a clone of the repository: pip install ".[chat]".\n'
        )
        assert run(*command, stdin="um\n").stdout == "um\n"


def test_other_commands_need_none_of_the_packages() -> None:
    result = run("maritalk-vllm", "plan", "--model", "small", "--gpus", "L4", "--users", "9", "--json")
    assert result.returncode == 0, result.stderr
    assert run("maritalk-vllm", "bench", "--help").returncode == 0


def test_doctor_finds_a_missing_package_of_the_chat(tmp_path: Path) -> None:
    options = ("--interactive", "--license", EVALUATION_KEY, "--device", "cpu", "--port", "0")
    result = run("maritalk-vllm", "doctor", *options, "--cache-dir", str(tmp_path))
    assert result.returncode == 2
    assert "--interactive needs the package prompt-toolkit." in result.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("maritalk-serve", "--model", "qwen3-4b"),
        ("maritalk-serve", "--model", "qwen3-4b", "--dry-run"),
        ("maritalk-vllm", "serve", "--model", "qwen3-4b", "--dry-run"),
        ("maritalk-vllm", "models"),
        ("maritalk-vllm", "plan", "--model", "qwen3-4b"),
        ("maritalk-vllm", "plan", "--model", "qwen3-4b", "--users", "9"),
        ("maritalk-vllm", "doctor", "--model", "qwen3-4b"),
    ],
)
def test_a_command_without_vllm_says_so(command: tuple[str, ...], tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PLAIN_INSTALLATION + WITHOUT, *command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "MARITALK_CACHE_DIR": str(tmp_path)},
    )
    assert 'vLLM is not installed. In a clone of the repository: pip install ".[cuda]"' in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == EngineError.exit_code


def test_the_packages_are_extras_that_a_server_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {
        name: {Requirement(each).name: Requirement(each) for each in requirements}
        for name, requirements in project["optional-dependencies"].items()
    }
    dependencies = {Requirement(each).name for each in project["dependencies"]}
    for extra, package in EXTRAS.items():
        assert set(extras[extra]) == {package}
        assert package not in dependencies
    for build in ("cpu", "cuda"):
        assert {"bench", "chat"} <= extras[build]["maritalk-vllm"].extras


@pytest.mark.parametrize("lock", ["cpu", "cuda12", "cuda13"])
def test_the_locks_of_a_server_have_the_packages(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text()
    assert "\naiohttp==" in text
    assert "\nprompt-toolkit==" in text
