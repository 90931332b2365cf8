"""Language of messages to users: the code has them in English, the catalogue has the Portuguese translations."""

import functools
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path


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


def spoken() -> Language:
    """The selected language; English by default."""
    return _selected


def say(sentence: str, **values: object) -> str:
    """Translate a sentence of the catalogue into the selected language, and fill in its `{names}`."""
    return (catalogue() if _selected is Language.PORTUGUESE else {}).get(sentence, sentence).format(**values)


def decimal(value: float, digits: int) -> str:
    """Format a number with `digits` decimals and the decimal separator of the selected language."""
    text = f"{value:.{digits}f}"
    return text.replace(".", ",") if _selected is Language.PORTUGUESE else text


@functools.cache
def catalogue() -> dict[str, str]:
    """The Portuguese translation of every English sentence."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, str] = yaml.load(_CATALOGUE.read_text(encoding="utf-8"), loader)
    return content


_CATALOGUE = Path(__file__).parent / "catalogue" / "pt.yaml"
