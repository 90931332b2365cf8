"""The engine's output: pieces of a stream and whole completions."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.v1.metrics.stats import RequestStateStats


@dataclass(frozen=True, slots=True)
class Piece:
    """New text of one answer of a request. `index` counts answers from 0."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One complete answer. `finish_reason` is `length` if max_tokens ended it, otherwise `stop`."""

    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """All answers to a request. Times are seconds on the engine's clock; their sum is the total time there."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int
    queue_time: float
    prompt_time: float
    generation_time: float


def seconds(times: "RequestStateStats") -> tuple[float, float, float]:
    """Queue time, prompt time and generation time of a request, in seconds on the engine's clock."""
    # Timestamps are 0 if a request stopped before its first token or the engine records no statistics.
    scheduled = times.scheduled_ts or times.queued_ts
    first = times.first_token_ts or scheduled
    return scheduled - times.queued_ts, first - scheduled, max(times.last_token_ts, first) - first


class OutputCollector:
    """Collects the outputs of a request, each of which contains only new text and tokens.

    The text always comes from vLLM's detokenizer, for whole answers and for streams: other ways of decoding give a
    different text with some tokenizers where a character spans several tokens.
    """

    def __init__(self, n: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(n)]
        self._reasons = [""] * n
        self._tokens = 0

    def add(self, output: "RequestOutput") -> list[Piece]:
        """Record `output` and return its new texts."""
        for choice in output.outputs:
            self._texts[choice.index].append(choice.text)
            self._reasons[choice.index] = choice.finish_reason or ""
            self._tokens += len(choice.token_ids)
        return [Piece(choice.index, choice.text) for choice in output.outputs if choice.text]

    def completion(self, last: "RequestOutput") -> Completion:
        """Return the completion. `last` is the final output, already added."""
        queue_time, prompt_time, generation_time = seconds(last.metrics)
        texts = map("".join, self._texts)
        return Completion(
            choices=tuple(Choice(text, reason) for text, reason in zip(texts, self._reasons, strict=True)),
            prompt_tokens=len(last.prompt_token_ids or ()),
            completion_tokens=self._tokens,
            queue_time=queue_time,
            prompt_time=prompt_time,
            generation_time=generation_time,
        )
