"""Specification of one load."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """`requests` in total from `users` concurrent users, in the API format `wire`.

    With a `rate`, requests arrive as a Poisson process of so many a second instead. `prompt` names a function of
    tools/bench/prompts.py; prompts are numbered from `first`, so that no load repeats those of another. Requests take
    the API `keys` in turn; without any they have none.
    """

    wire: str
    users: int = 0
    rate: float | None = None
    requests: int
    max_tokens: int
    prompt: str = "counting"
    first: int = 0
    keys: tuple[str, ...] = ()

    def to_message(self, *, streamed: bool) -> dict[str, Any]:
        """The message for the engine-alone process."""
        return {**asdict(self), "streamed": streamed}
