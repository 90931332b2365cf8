"""Translates the errors of our server, which are English over HTTP, as the page does."""

import functools
import json
import re

from ..i18n.language import Language, selected
from ..i18n.rendering import localized
from ..playground.static_files import STATIC

_TABLE = STATIC / "server_errors.json"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def localized_error(text: str) -> str:
    """Render an error response in the selected language: each known sentence; the rest stays as it is."""
    if selected() is Language.ENGLISH:
        return text
    sentences, rest = [], text
    while rest:
        length, sentence = _first_sentence(rest)
        sentences.append(sentence)
        rest = rest[length:]
    return " ".join(sentences)


def _first_sentence(text: str) -> tuple[int, str]:
    """The length of the first known sentence, and its translation; of the whole text if it starts with none."""
    for pattern, translation in _known(selected()):
        if found := pattern.match(text):
            return found.end(), translation.format(**found.groupdict())
    return len(text), text


@functools.cache
def _known(language: Language) -> list[tuple[re.Pattern[str], str]]:
    """Each sentence of the page's table; the catalogue's translation comes first, as the page has other controls."""
    table: dict[str, dict[str, str]] = json.loads(_TABLE.read_text(encoding="utf-8"))
    known = []
    for english, translations in table.items():
        translation = localized(english)
        if translation == english:
            translation = translations[language]
        parts = _PLACEHOLDER.split(english)
        pattern = "".join(f"(?P<{part}>.+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        known.append((re.compile(f"{pattern}(?: |$)"), translation))
    return known
