"""One load, as each target is told it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`requests` in all from `users` at once, in the API `wire`; `prompt` names a function of bench/prompts.

    With a `rate` they come so many a second instead, whenever they come (Poisson).
    Prompts are numbered from `first`, so that no load repeats those of another.
    """

    wire: str
    users: int = 0
    rate: float | None = None
    requests: int
    max_tokens: int
    prompt: str = "counting"
    first: int = 0

    def to_message(self, *, streamed: bool) -> dict[str, Any]:
        """For another process."""
        return {**asdict(self), "streamed": streamed}
