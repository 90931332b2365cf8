"""`--lang` selects the language of all messages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from maritalk_vllm.cli.lang_option import take_language
from maritalk_vllm.errors import UsageError
from maritalk_vllm.i18n.language import Language, choose, selected
from maritalk_vllm.i18n.rendering import decimal, say
from tests.commands import run

PACKAGE = Path(__file__).parent.parent / "maritalk_vllm"


@pytest.fixture(autouse=True)
def english_afterwards() -> Iterator[None]:
    yield
    choose(Language.ENGLISH)


def said() -> list[tuple[str, ast.expr]]:
    """The place and the first argument of each call of `say`."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                found.append((f"{file.relative_to(PACKAGE)}:{node.lineno}", node.args[0]))
    return found


def test_every_sentence_passed_to_say_is_a_constant() -> None:
    """The catalogue has no entry for a sentence that is composed at run time."""
    assert [place for place, argument in said() if not isinstance(argument, ast.Constant)] == []


def test_say_and_decimal_follow_the_language() -> None:
    assert say("Did you mean {word}?", word="port") == "Did you mean port?"
    assert decimal(1.25, 1) == "1.2"
    choose(Language.PORTUGUESE)
    assert say("Did you mean {word}?", word="port") == "Você quis dizer port?"
    assert decimal(1.25, 1) == "1,2"


@pytest.mark.parametrize(
    ("arguments", "environment", "language", "rest"),
    [
        ([], {}, "en", []),
        ([], {"LANG": "pt_BR.UTF-8"}, "pt", []),
        ([], {"LANG": "pt_BR.UTF-8", "LC_ALL": "C.UTF-8"}, "en", []),
        ([], {"LANG": "pt_BR.UTF-8", "MARITALK_LANG": "en"}, "en", []),
        (["--lang", "en", "-p", "1"], {"MARITALK_LANG": "pt"}, "en", ["-p", "1"]),
        (["plan", "--lang=pt", "--json"], {}, "pt", ["plan", "--json"]),
        (["--port", "1", "--", "--lang", "pt"], {}, "en", ["--port", "1", "--", "--lang", "pt"]),
    ],
)
def test_language_from_option_environment_and_locale(
    arguments: list[str], environment: dict[str, str], language: str, rest: list[str]
) -> None:
    assert take_language(arguments, environment) == rest
    assert selected() == language


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--lang", "fr"], {}), (["--lang"], {}), ([], {"MARITALK_LANG": "fr"})]
)
def test_an_unknown_language_is_an_error(arguments: list[str], environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="Known: en, pt"):
        take_language(arguments, environment)


@pytest.mark.parametrize(
    "command", [["maritalk-serve", "--prot", "1", "--lang", "pt"], ["maritalk-vllm", "chat", "--lang=pt", "--prot"]]
)
def test_usage_errors_are_in_the_chosen_language(command: list[str]) -> None:
    result = run(*command)
    assert result.returncode == 2
    name = " ".join(word for word in command[:2] if not word.startswith("-"))
    assert result.stderr.endswith(f"Veja `{name} --help`.\n")
