"""One thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from ...errors import MariTalkError


class Status(StrEnum):
    """How a check ended: a start works, works less well, or fails."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """What was seen, and for a problem what to do and the exit code with which a start would end."""

    name: str
    status: Status
    message: str
    hint: str = ""
    exit_code: int = 0

    @classmethod
    def ok(cls, name: str, message: str) -> Self:
        """All is well."""
        return cls(name, Status.OK, message)

    @classmethod
    def warning(cls, name: str, message: str, hint: str = "") -> Self:
        """A start works, but something is amiss."""
        return cls(name, Status.WARNING, message, hint)

    @classmethod
    def problem(cls, name: str, error: MariTalkError) -> Self:
        """A start would end with this error."""
        return cls(name, Status.PROBLEM, error.message, error.hint, error.exit_code)
