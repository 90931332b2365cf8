"""The sizes in the pages on operation are the planner's."""

import re

import pytest

from tests.commands import run
from tests.documents.pages import read


def sizes(page: str) -> list[tuple[str, str, str]]:
    """Each model with its requests of 8000 tokens and the GPUs, as an argument of `plan`."""
    pattern = r"^\| MariTalk (\w+) \| .* \| ([\d.,]+) (?:of|de) 8000 tokens (?:on|em) (\d) x ([\w-]+)"
    found = re.findall(pattern, read(page), re.MULTILINE)
    return [(model.lower(), users.replace(",", "."), f"{count}x{gpu}") for model, users, count, gpu in found]


SIZES = sizes("docs/operations.md")


def test_both_languages_have_the_same_sizes() -> None:
    assert [model for model, *_ in SIZES] == ["small", "medium"]
    assert sizes("docs/operacao.md") == SIZES


@pytest.mark.parametrize(("model", "users", "gpus"), SIZES)
def test_a_size_is_the_planned_one(model: str, users: str, gpus: str) -> None:
    result = run("maritalk-vllm", "plan", "--model", model, "--gpus", gpus)
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^users at full context +(.+)$", result.stdout, re.MULTILINE) == [users]
