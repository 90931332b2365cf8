"""`--lang`: the language of what a command says, chosen before the command line is read."""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from ..errors import UsageError
from ..language import Language, choose, of_locale
from ..settings import environment_variable

FLAG = "--lang"
VARIABLE = environment_variable("lang")

OPTION = Annotated[
    Language | None,
    typer.Option(
        FLAG, help="Language of what is said to people.", envvar=VARIABLE, show_default="the locale's, or else en"
    ),
]
"""For the help: `take_language` leaves none to be parsed."""


def take_language(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Choose the language that a command line asks for, or else the environment; what is left of the command line.

    It stands anywhere before a `--`, and holds for what is wrong with the rest as well. Raises UsageError.
    """
    choose(of_locale(environment))
    if given := environment.get(VARIABLE):
        choose(_language(VARIABLE, given))
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest, ours = [], iter(arguments[:end])
    for argument in ours:
        flag, equals, value = argument.partition("=")
        if flag != FLAG:
            rest.append(argument)
        else:
            choose(_language(FLAG, value if equals else next(ours, "")))
    return [*rest, *arguments[end:]]


def _language(source: str, name: str) -> Language:
    try:
        return Language(name)
    except ValueError as error:
        raise UsageError(f"{source}: there is no language {name!r}.", f"Known: {', '.join(Language)}.") from error
