"""An error of another process or node."""

from collections.abc import Iterator
from typing import Self

import msgspec

from ...errors import MariTalkError


class ErrorReport(msgspec.Struct, frozen=True):
    """A MariTalkError as a part of a message.

    A rejected node of another version has to read it: fields may be added with a default, and unknown ones are ignored.
    `error` is the name of the error's class.
    """

    error: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: MariTalkError) -> Self:
        """Return the report of an error."""
        return cls(type(error).__name__, _utf8(error.message), _utf8(error.hint))

    def to_error(self) -> MariTalkError:
        """Return an error of the same class, or a MariTalkError if this program has no such class."""
        classes = {each.__name__: each for each in _subclasses(MariTalkError)}
        return classes.get(self.error, MariTalkError)(self.message, self.hint)


def _utf8(text: str) -> str:
    """Escape what UTF-8 cannot encode, such as a byte of a file name: the error must arrive."""
    return text.encode(errors="backslashreplace").decode()


def _subclasses(error_class: type[MariTalkError]) -> Iterator[type[MariTalkError]]:
    yield error_class
    for each in error_class.__subclasses__():
        yield from _subclasses(each)
