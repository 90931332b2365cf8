"""A message: English text that keeps its template and values.

JSON, logs and HTTP responses get the English text. `rendering.localized` renders a message in the selected language
where it is printed.
"""

import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Self


class Number:
    """A number in a message. `spec` is its format in English; other languages have other separators."""

    __slots__ = ("spec", "value")

    def __init__(self, value: float, spec: str = ",") -> None:
        self.value = value
        self.spec = spec

    def __str__(self) -> str:
        return format(self.value, self.spec)

    def localized(self, decimal: str, group: str) -> str:
        """Render the number with a language's decimal and grouping separators."""
        return str(self).translate({ord("."): decimal, ord(","): group})


class Style(StrEnum):
    """A transformation of a message's text in any language."""

    CAPITALIZED = "capitalized"
    CLAUSE = "clause"
    SENTENCE = "sentence"

    def apply(self, text: str) -> str:
        """Return the text with this style."""
        match self:
            case Style.CAPITALIZED:
                return f"{text[:1].upper()}{text[1:]}"
            case Style.CLAUSE:
                return text.rstrip(".")
            case Style.SENTENCE:
                return text if text.endswith((".", "?")) else f"{text}."


class Message(str):
    """An English text with its template and values, which may themselves be messages.

    Concatenating or formatting it yields a plain `str`: use `msg` with the message as a value, or `joined`.
    """

    __slots__ = ("plural", "quantity", "style", "template", "values")

    template: str
    """English, with a `{name}` for each value: the key of its translation."""
    values: Mapping[str, object]
    plural: str | None
    """The template for quantities other than 1, if there are two templates."""
    quantity: float
    style: Style | None

    def __new__(  # noqa: D102
        cls,
        template: str,
        values: Mapping[str, object],
        plural: str | None = None,
        quantity: float = 1,
        style: Style | None = None,
    ) -> Self:
        english = (template if plural is None or quantity == 1 else plural).format(**values)
        message = super().__new__(cls, english if style is None else style.apply(english))
        message.template, message.values, message.style = template, values, style
        message.plural, message.quantity = plural, quantity
        return message

    def __getnewargs__(  # type: ignore[override]
        self,
    ) -> tuple[str, Mapping[str, object], str | None, float, Style | None]:
        return self.template, self.values, self.plural, self.quantity, self.style


def msg(template: str, /, **values: object) -> Message:
    """The message of a template, a constant of the source code, with a value for each `{name}`."""
    return Message(template, values)


def pluralized(number: int | Number, singular: str, plural: str, /, **values: object) -> Message:
    """A message about a quantity: `pluralized(2, "{number} GPU", "{number} GPUs")`, with more values if it has them."""
    quantity = number.value if isinstance(number, Number) else number
    return Message(singular, {"number": number, **values}, plural, quantity)


def tenths(value: float) -> Number:
    """A number rounded to one decimal, without it if it is 0: `1.3`, and `1` instead of `1.0`."""
    rounded = round(value, 1)
    return Number(rounded, ",.0f" if rounded.is_integer() else ",.1f")


def numeral(value: float, spec: str) -> Message:
    """A message that consists of a number."""
    return Message("{number}", {"number": Number(value, spec)})


def joined(separator: str, parts: Iterable[str]) -> Message:
    """The parts, each a message or a text, with a separator that is the same in all languages."""
    values = {f"part{index}": part for index, part in enumerate(parts)}
    escaped = separator.replace("{", "{{").replace("}", "}}")
    return Message(escaped.join(f"{{{name}}}" for name in values), values)


def sentences(*parts: str) -> Message:
    """Sentences, one after the other; empty ones are left out."""
    return joined(" ", filter(None, parts))


def capitalized(text: str) -> Message:
    """The text with an upper-case first letter."""
    return Message("{text}", {"text": text}, style=Style.CAPITALIZED)


def clause(sentence: str) -> Message:
    """A sentence without its full stop, as part of another."""
    return Message("{text}", {"text": sentence}, style=Style.CLAUSE)


def with_full_stop(text: str) -> Message:
    """The text with a full stop, unless it ends with one or with a question mark."""
    return Message("{text}", {"text": text}, style=Style.SENTENCE)


def mapped(text: str, function: Callable[[str], str]) -> str:
    """Apply a function to a text, or to each value of a message that the function changes."""
    if not isinstance(text, Message):
        return function(text)
    values = {name: _mapped_value(value, function) for name, value in text.values.items()}
    return Message(text.template, values, text.plural, text.quantity, text.style)


def placeholders(template: str) -> Iterator[str]:
    """The names of a template's values."""
    return (name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def _mapped_value(value: object, function: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return mapped(value, function)
    changed = function(str(value))
    return value if changed == str(value) else changed
