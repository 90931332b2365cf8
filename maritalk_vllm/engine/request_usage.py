"""Tokens and times that each request uses, on any route: counted once, for the log, metrics and rate limits."""

import functools
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .completion import seconds
from .exception_mapping import map_to_vllm_exceptions

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient
    from vllm.outputs import RequestOutput
    from vllm.v1.metrics.stats import RequestStateStats

    Outputs = AsyncGenerator[RequestOutput, None]


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

    @property
    def tokens(self) -> int:
        """Tokens of the prompts and the answers together."""
        return self.prompt_tokens + self.completion_tokens


class RequestUsage:
    """Usage of one client request. A prompt counts once, at admission; an answer's tokens as the engine reports them.

    `rejection` is why our own code rejected it, if it did; `logprobs`, the number it may generate; `is_open`, whether
    it has no max_tokens.
    """

    def __init__(self, allowance: Allowance | None = None) -> None:
        self.rejection = ""
        self.allowance = allowance
        self.logprobs = 0
        self.is_open = False
        self._prompt_tokens = 0
        self._answers: list[RequestStateStats] = []
        self._totals: UsageTotals | None = None

    def admit(self, prompt_tokens: int, answer: "RequestStateStats") -> None:
        """Record an answer that the engine accepted. `prompt_tokens` is 0 for a further answer to the same prompt."""
        self._prompt_tokens += prompt_tokens
        self._answers.append(answer)

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
        return UsageTotals(self._prompt_tokens, tokens, queue, prompt, generation)


current: ContextVar[RequestUsage | None] = ContextVar("usage", default=None)
"""Usage of the current request. The request log sets it, and reads it at the end of the request."""


def record_usage(client: "EngineClient") -> None:
    """Patch `client` to record prompts and answers in the usage of the current request."""
    processor = client.output_processor
    add = processor.add_request

    @functools.wraps(add)
    def add_and_record(request: Any, prompt: Any, parent: Any, index: int, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        add(request, prompt, parent, index, *rest, **named)
        if (usage := current.get()) is not None:
            state = processor.request_states[request.request_id]
            usage.admit(0 if index else state.prompt_len, state.stats)

    processor.add_request = add_and_record


def enforce_allowances(client: "EngineClient") -> None:
    """Patch `client` to reserve a request's maximum usage before it starts: vLLM's routes call it before they respond.

    It raises a vLLM error, whose cause is ours.
    """
    generate, context = client.generate, client.model_config.max_model_len

    @functools.wraps(generate)
    def generate_within_allowance(prompt: Any, parameters: Any, *rest: Any, **named: Any) -> "Outputs":  # noqa: ANN401
        usage = current.get()
        if usage is not None and usage.allowance is not None:
            length = prompt_length(prompt)
            available = max(0, context - length)
            most = available if parameters.max_tokens is None else min(parameters.max_tokens, available)
            with map_to_vllm_exceptions():
                usage.allowance.take(length, parameters.n, most, is_open=most == available)
        outputs: Outputs = generate(prompt, parameters, *rest, **named)
        return outputs

    client.generate = generate_within_allowance


def prompt_length(prompt: Any) -> int:  # noqa: ANN401
    """Number of tokens of a prompt that vLLM's renderer returned."""
    inner = prompt.get("decoder_prompt", prompt)
    tokens = inner.get("prompt_token_ids")
    return len(inner.get("prompt_embeds", ()) if tokens is None else tokens)
