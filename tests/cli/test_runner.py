"""What a command line that cannot be read is told."""

import subprocess

import pytest

from tests.commands import run


def maritalk_vllm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("maritalk-vllm", *arguments)


@pytest.mark.parametrize("group", [[], ["license"], ["config"]])
def test_without_a_command_the_help(group: list[str]) -> None:
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
def test_a_sentence_for_what_is_not_there(arguments: list[str], sentence: str) -> None:
    result = maritalk_vllm(*arguments)
    assert (result.returncode, result.stderr) == (2, f"maritalk-vllm: {sentence} `maritalk-vllm --help`.\n")
