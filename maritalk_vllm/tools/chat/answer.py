"""A complete answer with its timings and token counts, as the last event of the stream has them."""

from dataclasses import dataclass
from typing import Any, Self

from ...i18n.rendering import decimal, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Times in seconds; tokens are None where the server does not count them."""

    text: str
    queue_time: float
    prompt_time: float
    generation_time: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    is_truncated: bool = False
    """Whether max_tokens ended the answer."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """Parse a response, in either time unit. Raises KeyError, TypeError or AttributeError for other content."""
        usage = content.get("usage") or {}
        return cls(
            text=content["output"],
            queue_time=_seconds(content["queue_time"]),
            prompt_time=_seconds(content["prompt_time"]),
            generation_time=_seconds(content["generation_time"]),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            is_truncated=content.get("finish_reason") == "length",
        )

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens a second after the first token, whose time belongs to the prompt."""
        if not self.completion_tokens or self.completion_tokens < 2 or not self.generation_time:
            return None
        return (self.completion_tokens - 1) / self.generation_time

    def times(self) -> str:
        """The timings as one line of text."""
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
    # Integers are milliseconds, floats are seconds: --time-unit of the server sets which.
    return time / 1000 if isinstance(time, int) else time
