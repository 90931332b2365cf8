"""An error of another process or node."""

import contextlib
from collections.abc import Iterator
from typing import Self

import msgspec

from ...errors import EngineError, MariTalkError
from .text import Text, encodable, pack, unpack


class ErrorReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A MariTalkError as a part of a message.

    A rejected node of another version has to read it: fields may be added with a default, and unknown ones are ignored.
    `error` is the name of the error's class. `message` and `hint` are English; the two fields that end with `_text` are
    the same, to be rendered in another language. `max_model_len` is that of an EngineError.
    """

    error: str
    message: str
    hint: str = ""
    message_text: str | Text | None = None
    hint_text: str | Text | None = None
    max_model_len: int | None = None

    @classmethod
    def of(cls, error: MariTalkError) -> Self:
        """Return the report of an error."""
        english = encodable(error.message), encodable(error.hint)
        max_model_len = error.max_model_len if isinstance(error, EngineError) else None
        return cls(type(error).__name__, *english, pack(error.message), pack(error.hint), max_model_len)

    def to_error(self) -> MariTalkError:
        """Return an error of the same class, or a MariTalkError if this program has no such class."""
        classes = {each.__name__: each for each in _subclasses(MariTalkError)}
        message, hint = self.message, self.hint
        if self.message_text is not None and self.hint_text is not None:
            with contextlib.suppress(ValueError):  # of another version
                message, hint = unpack(self.message_text), unpack(self.hint_text)
        error = classes.get(self.error, MariTalkError)(message, hint)
        if isinstance(error, EngineError):
            error.max_model_len = self.max_model_len
        return error


def _subclasses(error_class: type[MariTalkError]) -> Iterator[type[MariTalkError]]:
    yield error_class
    for each in error_class.__subclasses__():
        yield from _subclasses(each)
