"""The language of the commands' output."""

import os
from collections.abc import Mapping
from enum import StrEnum


class Language(StrEnum):
    """A language of the commands' output."""

    ENGLISH = "en"
    PORTUGUESE = "pt"


def of_locale(environment: Mapping[str, str] = os.environ) -> Language:
    """The locale's language, from the variables that POSIX defines for messages; English if it is not supported."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environment[name] for name in names if environment.get(name)), "")
    return Language.PORTUGUESE if locale.lower().startswith("pt") else Language.ENGLISH


_selected = Language.ENGLISH


def choose(language: Language) -> None:
    """Select the language of this process."""
    global _selected
    _selected = language


def selected() -> Language:
    """The selected language; English by default."""
    return _selected
