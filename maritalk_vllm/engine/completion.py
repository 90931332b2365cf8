"""What the engine answers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.v1.metrics.stats import RequestStateStats


@dataclass(frozen=True, slots=True)
class Piece:
    """New text of one of a request's answers, which are numbered from 0."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One whole answer. `finish_reason` is `length` where max_tokens ended it, and otherwise `stop`."""

    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A request's answers, whole. Times in seconds, by the engine's clock; they add up to its time in the engine."""

    choices: tuple[Choice, ...]
    prompt_tokens: int
    completion_tokens: int
    queue_time: float
    prompt_time: float
    generation_time: float


def seconds(times: "RequestStateStats") -> tuple[float, float, float]:
    """How long a request waited, how long its prompt took, and the rest of its answer, by the engine's clock."""
    # A request that stopped before its first token, and an engine without statistics, have no times.
    scheduled = times.scheduled_ts or times.queued_ts
    first = times.first_token_ts or scheduled
    return scheduled - times.queued_ts, first - scheduled, max(times.last_token_ts, first) - first


class OutputCollector:
    """Collects a request's outputs, each of which has only what is new.

    Their texts are those of vLLM's detokenizer, whether they come at once or in pieces: decoded in another way, some
    tokenizers' texts differ where a character is spread over several tokens.
    """

    def __init__(self, n: int) -> None:
        self._texts: list[list[str]] = [[] for _ in range(n)]
        self._reasons = [""] * n
        self._tokens = 0

    def add(self, output: "RequestOutput") -> list[Piece]:
        """The texts that `output` has brought."""
        for choice in output.outputs:
            self._texts[choice.index].append(choice.text)
            self._reasons[choice.index] = choice.finish_reason or ""
            self._tokens += len(choice.token_ids)
        return [Piece(choice.index, choice.text) for choice in output.outputs if choice.text]

    def completion(self, last: "RequestOutput") -> Completion:
        """The whole, once the `last` output was added."""
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
