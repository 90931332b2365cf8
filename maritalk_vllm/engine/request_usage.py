"""Tokens and times that each request uses, on any route: counted once, for the log, metrics and rate limits."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .completion import seconds

if TYPE_CHECKING:
    from vllm.v1.metrics.stats import RequestStateStats


class Allowance(Protocol):
    """The remaining allowance of a request's API key."""

    def take(self, prompt_tokens: int, answers: int, answer_tokens: int, *, is_open: bool) -> None:
        """Reserve a prompt and `answers` answers of `answer_tokens` each. Raises TooManyRequests or RequestError.

        `is_open`: the answer may fill the rest of the context, for example without max_tokens.
        """


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Tokens, and seconds on the engine's clock: the maximum if a client's request is several engine requests."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_time: float = 0.0
    prompt_time: float = 0.0
    generation_time: float = 0.0
    lost_time: float = 0.0
    """Waiting for the next engine after one had died."""

    @property
    def tokens(self) -> int:
        """Tokens of the prompts and the answers together."""
        return self.prompt_tokens + self.completion_tokens


class RequestUsage:
    """Usage of one client request. A prompt counts once, at admission; an answer's tokens as the engine reports them.

    `allowance` is that of its API key, None without limits; `logprobs`, the number that it may generate; `is_open`,
    whether it has no max_tokens.
    """

    __slots__ = ("_answers", "_lost_time", "_prompt_tokens", "_totals", "allowance", "is_open", "logprobs")

    def __init__(self) -> None:
        self.allowance: Allowance | None = None
        self.logprobs = 0
        self.is_open = False
        self._prompt_tokens = 0
        self._lost_time = 0.0
        self._answers: list[RequestStateStats] = []
        self._totals: UsageTotals | None = None

    def admit(self, prompt_tokens: int, answer: "RequestStateStats") -> None:
        """Record an answer that the engine accepted. `prompt_tokens` is 0 for a further answer to the same prompt."""
        self._prompt_tokens += prompt_tokens
        self._answers.append(answer)

    def lose(self, seconds: float) -> None:
        """Record a wait for the next engine."""
        self._lost_time += seconds

    @property
    def totals(self) -> UsageTotals:
        """The usage so far; constant after `close`."""
        return self._totals or self._sum()

    def close(self) -> UsageTotals:
        """End the request, also after a disconnect. Later reports of the engine are ignored."""
        if self._totals is None:
            self._totals = self._sum()
            self._answers.clear()
        return self._totals

    def _sum(self) -> UsageTotals:
        times = [seconds(answer) for answer in self._answers]
        queue, prompt, generation = (max(each) for each in zip(*times, strict=True)) if times else (0.0, 0.0, 0.0)
        tokens = sum(answer.num_generation_tokens for answer in self._answers)
        return UsageTotals(self._prompt_tokens, tokens, queue, prompt, generation, self._lost_time)
