"""The language of what people read: the code has every sentence in English, the catalogue has it in Portuguese."""

import functools
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path


class Language(StrEnum):
    """A language that the commands speak."""

    ENGLISH = "en"
    PORTUGUESE = "pt"


def of_locale(environment: Mapping[str, str] = os.environ) -> Language:
    """The locale's own, by the variables that POSIX names for messages; English where it is none of ours."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environment[name] for name in names if environment.get(name)), "")
    return Language.PORTUGUESE if locale.lower().startswith("pt") else Language.ENGLISH


_spoken = Language.ENGLISH


def choose(language: Language) -> None:
    """Speak this language in this process from now on."""
    global _spoken
    _spoken = language


def spoken() -> Language:
    """The language that was chosen; English until then."""
    return _spoken


def say(sentence: str, **values: object) -> str:
    """A sentence of the catalogue, in the language chosen, with its `{names}` filled in."""
    return (catalogue() if _spoken is Language.PORTUGUESE else {}).get(sentence, sentence).format(**values)


def decimal(value: float, digits: int) -> str:
    """A number with so many digits after the point, or after the comma, as the language chosen has it."""
    text = f"{value:.{digits}f}"
    return text.replace(".", ",") if _spoken is Language.PORTUGUESE else text


@functools.cache
def catalogue() -> dict[str, str]:
    """Every sentence in Portuguese, by the English one."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content: dict[str, str] = yaml.load(_CATALOGUE.read_text(encoding="utf-8"), loader)
    return content


_CATALOGUE = Path(__file__).parent / "catalogue" / "pt.yaml"
