"""A failure of vLLM's start that has an explanation, and how it is recognized."""

import re
from dataclasses import dataclass

from ..errors import EngineError, MariTalkError


@dataclass(frozen=True, slots=True)
class FailurePattern:
    """A pattern, the templates of the explanation and of a hint, and the error that the start ends with.

    The pattern has what is essential of a text, since the rest differs between versions. Its groups are the values of
    the templates.
    """

    pattern: re.Pattern[str]
    cause: str
    hint: str
    error: type[MariTalkError] = EngineError
