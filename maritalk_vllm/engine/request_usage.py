"""What each request takes of the engine, by any route: counted once, for the log, metrics and quotas."""

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
    """What the key of a request may still have."""

    def take(self, prompt_tokens: int, answers: int, answer_tokens: int, *, is_open: bool) -> None:
        """Reserve a prompt and so many answers of so many tokens each. Raises TooManyRequests or RequestError.

        `is_open`: the answer may fill the rest of the context, as where a request has no max_tokens.
        """


@dataclass(frozen=True, slots=True)
class Figures:
    """Tokens, and seconds by the engine's clock: the longest where a client's request is several of the engine's."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    queue_time: float = 0.0
    prompt_time: float = 0.0
    generation_time: float = 0.0

    @property
    def tokens(self) -> int:
        """Of the prompts and the answers together."""
        return self.prompt_tokens + self.completion_tokens


class RequestUsage:
    """One client's request. A prompt counts once, from its admission on; an answer's tokens as the engine reports them.

    `refusal` is why it was not answered, where our own code knows; `logprobs`, how many it may come to; `is_open`,
    whether it was sent without max_tokens.
    """

    def __init__(self, allowance: Allowance | None = None) -> None:
        self.refusal = ""
        self.allowance = allowance
        self.logprobs = 0
        self.is_open = False
        self._prompt_tokens = 0
        self._answers: list[RequestStateStats] = []
        self._figures: Figures | None = None

    def admit(self, prompt_tokens: int, answer: "RequestStateStats") -> None:
        """The engine has taken one answer; `prompt_tokens` is 0 for a further answer to the same prompt."""
        self._prompt_tokens += prompt_tokens
        self._answers.append(answer)

    @property
    def figures(self) -> Figures:
        """What it comes to until now; the same for all readers once it is closed."""
        return self._figures or self._sum()

    def close(self) -> Figures:
        """The request is over, also where the client hung up. What the engine still reports of it counts no more."""
        if self._figures is None:
            self._figures = self._sum()
            self._answers.clear()
        return self._figures

    def _sum(self) -> Figures:
        times = [seconds(answer) for answer in self._answers]
        queue, prompt, generation = (max(each) for each in zip(*times, strict=True)) if times else (0.0, 0.0, 0.0)
        tokens = sum(answer.num_generation_tokens for answer in self._answers)
        return Figures(self._prompt_tokens, tokens, queue, prompt, generation)


current: ContextVar[RequestUsage | None] = ContextVar("account", default=None)
"""That of the request that is being answered: the layer that counts it sets one, and reads it when it is over."""


def record_usage(client: "EngineClient") -> None:
    """Have this client add what it takes in and generates to the account of the request."""
    processor = client.output_processor
    add = processor.add_request

    @functools.wraps(add)
    def add_counted(request: Any, prompt: Any, parent: Any, index: int, *rest: Any, **named: Any) -> None:  # noqa: ANN401
        add(request, prompt, parent, index, *rest, **named)
        if (account := current.get()) is not None:
            state = processor.request_states[request.request_id]
            account.admit(0 if index else state.prompt_len, state.stats)

    processor.add_request = add_counted


def enforce_allowances(client: "EngineClient") -> None:
    """Have this client reserve what a request may come to before it begins: vLLM's routes call it before they answer.

    What it raises then is an error of vLLM's, whose cause is ours.
    """
    generate, context = client.generate, client.model_config.max_model_len

    @functools.wraps(generate)
    def generate_allowed(prompt: Any, parameters: Any, *rest: Any, **named: Any) -> "Outputs":  # noqa: ANN401
        account = current.get()
        if account is not None and account.allowance is not None:
            length = prompt_length(prompt)
            left = max(0, context - length)
            most = left if parameters.max_tokens is None else min(parameters.max_tokens, left)
            with map_to_vllm_exceptions():
                account.allowance.take(length, parameters.n, most, is_open=most == left)
        outputs: Outputs = generate(prompt, parameters, *rest, **named)
        return outputs

    client.generate = generate_allowed


def prompt_length(prompt: Any) -> int:  # noqa: ANN401
    """The tokens of a prompt as vLLM's renderer made it."""
    inner = prompt.get("decoder_prompt", prompt)
    tokens = inner.get("prompt_token_ids")
    return len(inner.get("prompt_embeds", ()) if tokens is None else tokens)
