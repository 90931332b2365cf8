"""The result of one check."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from ...errors import MariTalkError


class Status(StrEnum):
    """Result of a check: a start would work, work with limitations, or fail."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """Result of a check; for a problem, with the hint and the exit code of a start."""

    name: str
    status: Status
    message: str
    hint: str = ""
    exit_code: int = 0

    @classmethod
    def ok(cls, name: str, message: str) -> Self:
        """A check that found nothing wrong."""
        return cls(name, Status.OK, message)

    @classmethod
    def warning(cls, name: str, message: str, hint: str = "") -> Self:
        """A start would work, but with a limitation."""
        return cls(name, Status.WARNING, message, hint)

    @classmethod
    def problem(cls, name: str, error: MariTalkError) -> Self:
        """A start would fail with this error."""
        return cls(name, Status.PROBLEM, error.message, error.hint, error.exit_code)
