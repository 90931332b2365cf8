"""The base class of all messages, and the error for one that cannot be sent or read."""

from typing import Self

import msgspec

from ...errors import EngineError
from ...i18n.message import msg

_HINT = "Start the server again: its program may have been updated while it ran."


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="type", forbid_unknown_fields=True):
    """A message. `type` names its class on the wire; a field that the class does not have is an error."""


class MessageError(EngineError):
    """A message that cannot be sent or read. It never contains values of the message, which may be secrets."""

    problem = ""
    """The problem of the message, as the end of a sentence."""

    @classmethod
    def about(cls, direction: str, problem: str) -> Self:
        """Return the error for a message of this direction, such as `to the supervisor`."""
        error = cls(msg("A message {direction} is invalid: {problem}.", direction=direction, problem=problem), _HINT)
        error.problem = problem
        return error
