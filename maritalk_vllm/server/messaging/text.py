"""A text for users as a part of a message: it is rendered in the language of the process that prints it."""

import re
import string
from typing import Self

import msgspec

from ...i18n.message import Message, Number, Style

_NUMBER_SPEC = re.compile(r",?(\.\d)?[fg%]?")
"""Formats of numbers that the source code uses."""


class NumberPart(msgspec.Struct, frozen=True, tag="number"):
    """A Number of a text."""

    value: int | float
    spec: str


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A Message of `i18n`. Values that are neither messages nor numbers are sent as the text they have in it."""

    template: str
    values: "dict[str, str | Text | NumberPart]"
    plural: str | None = None
    quantity: float = 1
    style: Style | None = None

    @classmethod
    def of(cls, message: Message) -> Self:
        """Return a message's text."""
        values = {name: _part(value) for name, value in message.values.items()}
        return cls(encodable(message.template), values, message.plural, message.quantity, message.style)

    def to_message(self) -> Message:
        """Return the message. Raises ValueError for a template or a number's format that the source code cannot have.

        Another node sent it: `str.format` would look up attributes, and pad to any length.
        """
        for template in filter(None, (self.template, self.plural)):
            for _, name, spec, conversion in string.Formatter().parse(template):
                if name is not None and (name not in self.values or spec or conversion not in (None, "r")):
                    raise ValueError(f"The text has no value {name!r}.")
        values = {name: _value(part) for name, part in self.values.items()}
        return Message(self.template, values, self.plural, self.quantity, self.style)


def pack(text: str) -> str | Text:
    """Return a text in a form that can be sent."""
    return Text.of(text) if isinstance(text, Message) else encodable(text)


def unpack(text: str | Text) -> str:
    """Revert `pack`."""
    return text.to_message() if isinstance(text, Text) else text


def encodable(text: str) -> str:
    """Escape what UTF-8 cannot encode, such as a byte of a file name: the text must arrive."""
    return text.encode(errors="backslashreplace").decode()


def _part(value: object) -> str | Text | NumberPart:
    if isinstance(value, Message):
        return Text.of(value)
    return NumberPart(value.value, value.spec) if isinstance(value, Number) else encodable(str(value))


def _value(part: str | Text | NumberPart) -> object:
    if isinstance(part, Text):
        return part.to_message()
    if isinstance(part, NumberPart):
        if not _NUMBER_SPEC.fullmatch(part.spec):
            raise ValueError("The text has a number in an unknown format.")
        return Number(part.value, part.spec)
    return part
