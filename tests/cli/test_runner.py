"""Error messages for an invalid command line."""

import subprocess

import pytest

from tests.commands import run


def maritalk_vllm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-vllm", *arguments)


@pytest.mark.parametrize("group", [[], ["license"], ["config"]])
def test_missing_subcommand_prints_the_help(group: list[str]) -> None:
    result = maritalk_vllm(*group)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == maritalk_vllm(*group, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plann"], "No such command 'plann'. Did you mean 'plan'? Try"),
        (["config"] * 2, "No such command 'config'. Try"),
        (["--lang", "pt", "plann"], "Não existe o comando 'plann'. Você quis dizer 'plan'? Veja"),
    ],
)
def test_unknown_commands_and_options(arguments: list[str], sentence: str) -> None:
    result = maritalk_vllm(*arguments)
    assert (result.returncode, result.stderr) == (2, f"maritalk-vllm: {sentence} `maritalk-vllm --help`.\n")
