"""`--lang`: the language of a command's output, selected before the command line is parsed."""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from ..errors import UsageError
from ..i18n.language import Language, choose, of_locale
from ..i18n.message import msg
from ..settings import environment_variable

FLAG = "--lang"
VARIABLE = environment_variable("lang")

OPTION = Annotated[
    Language | None,
    typer.Option(FLAG, help="Language of messages.", envvar=VARIABLE, show_default="the locale's, or else en"),
]
"""Declared only for the help: `take_language` removes the flag before parsing."""


def take_language(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Select the language from the arguments, the environment or the locale; return the arguments without the flag.

    The flag may be anywhere before a `--`; it also applies to errors in the other arguments. Raises UsageError.
    """
    choose(of_locale(environment))
    if name := environment.get(VARIABLE):
        choose(_language(VARIABLE, name))
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest, before_separator = [], iter(arguments[:end])
    for argument in before_separator:
        flag, equals, value = argument.partition("=")
        if flag != FLAG:
            rest.append(argument)
        else:
            choose(_language(FLAG, value if equals else next(before_separator, "")))
    return [*rest, *arguments[end:]]


def _language(source: str, name: str) -> Language:
    try:
        return Language(name)
    except ValueError as error:
        raise UsageError(
            msg("{source}: there is no language {name!r}.", source=source, name=name),
            msg("Known: {words}.", words=", ".join(Language)),
        ) from error
