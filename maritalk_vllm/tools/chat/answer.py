"""A whole answer, as its last event tells it: what was said, and what it took."""

from dataclasses import dataclass
from typing import Any, Self

from ...language import decimal, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Times in seconds; tokens are None where the server does not count them."""

    text: str
    queue_time: float
    prompt_time: float
    generation_time: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    was_cut: bool = False
    """Whether max_tokens ended it."""

    @classmethod
    def read(cls, told: dict[str, Any]) -> Self:
        """From the wire, in either unit of time. Raises KeyError, TypeError or AttributeError for what is none."""
        usage = told.get("usage") or {}
        return cls(
            text=told["output"],
            queue_time=_seconds(told["queue_time"]),
            prompt_time=_seconds(told["prompt_time"]),
            generation_time=_seconds(told["generation_time"]),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            was_cut=told.get("finish_reason") == "length",
        )

    @property
    def tokens_per_second(self) -> float | None:
        """Of what came after the first token, whose time is the prompt's."""
        if not self.completion_tokens or self.completion_tokens < 2 or not self.generation_time:
            return None
        return (self.completion_tokens - 1) / self.generation_time

    def times(self) -> str:
        """A line for people."""
        line = say(
            "queue {queue} s, prompt {prompt} s, generation {generation} s",
            queue=decimal(self.queue_time, 3),
            prompt=decimal(self.prompt_time, 3),
            generation=decimal(self.generation_time, 3),
        )
        if self.completion_tokens is not None:
            spent = {"prompt": self.prompt_tokens, "answer": self.completion_tokens}
            line += "; " + say("tokens: {prompt} of the prompt, {answer} of the answer", **spent)
        if self.tokens_per_second is not None:
            line += "; " + say("{rate} tokens/s", rate=decimal(self.tokens_per_second, 1))
        return line


def _seconds(time: int | float) -> float:
    # Whole milliseconds or float seconds: a server has one of the two (its --time-unit).
    return time / 1000 if isinstance(time, int) else time
