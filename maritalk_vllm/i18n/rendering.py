"""Renders messages in the selected language, with the translations of a gettext catalogue and a locale's numbers."""

import functools
import gettext
import io
from pathlib import Path

from .language import Language, selected
from .message import Message, Number, numeral

_LOCALE = "pt_BR"
CATALOGUE = Path(__file__).parent / f"{_LOCALE}.po"
"""The Portuguese translation of every message, as gettext's tools read it."""


def localized(text: str) -> str:
    """Render a text in the selected language.

    A message is rendered with the translation of its template, and any other text if all of it is in the catalogue.
    What has no translation stays English.
    """
    return str(text) if selected() is Language.ENGLISH else _rendered(text)


def say(template: str, /, **values: object) -> str:
    """Fill in a template and render it at once, for text that is printed where it is made."""
    return localized(Message(template, values))


def decimal(value: float, digits: int) -> str:
    """Format a number with `digits` decimals and the decimal separator of the selected language."""
    return localized(numeral(value, f".{digits}f"))


def _rendered(text: str) -> str:
    if not isinstance(text, Message):
        return _translations().gettext(text) if text else ""
    if text.plural is None:
        template = _translations().gettext(text.template) if text.template else ""
    else:
        # In Portuguese, the plural begins at 2: "1,9 usuário".
        template = _translations().ngettext(text.template, text.plural, int(text.quantity))
    rendered = template.format(**{name: _value(value) for name, value in text.values.items()})
    return rendered if text.style is None else text.style.apply(rendered)


def _value(value: object) -> object:
    if isinstance(value, Number):
        return value.localized(*_separators())
    # A single word may be a name: only a message made of it is translated.
    if isinstance(value, Message) or (isinstance(value, str) and " " in value):
        return _rendered(value)
    return value


@functools.cache
def _translations() -> gettext.NullTranslations:
    # Imported here: it takes longer than anything else in a command that prints English.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with CATALOGUE.open("rb") as file:
        write_mo(compiled, read_po(file, locale=_LOCALE, abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@functools.cache
def _separators() -> tuple[str, str]:
    """The decimal and the grouping separator."""
    from babel.numbers import get_decimal_symbol, get_group_symbol

    return get_decimal_symbol(_LOCALE), get_group_symbol(_LOCALE)
