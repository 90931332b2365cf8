"""How many logprobs a request may have: vLLM makes them for clients in one go, in which no other request goes on."""

from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from .exception_mapping import map_to_vllm_exceptions
from .request_usage import current, prompt_length

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

MOST = 16_384
"""Of all prompts and answers of a request; those of a stream's answers are made bit by bit, and do not count. Each
takes about 20 µs: 14 to make its text and 4 to write it."""


def refuse_many_logprobs(client: "EngineClient") -> None:
    """Have this client refuse a request for more, and end a single answer without max_tokens before it has more."""
    generate, context = client.generate, int(client.model_config.max_model_len)

    def generate_bounded(prompt: Any, parameters: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if (
            getattr(parameters, "logprobs", None) is not None
            or getattr(parameters, "prompt_logprobs", None) is not None
        ):
            with map_to_vllm_exceptions():
                _bound(parameters, prompt_length(prompt), context)
        return generate(prompt, parameters, *rest, **named)

    client.generate = generate_bounded


def _bound(parameters: Any, prompt_tokens: int, context: int) -> None:  # noqa: ANN401
    """Raises RequestError."""
    from vllm.sampling_params import RequestOutputKind

    account = current.get()
    left = MOST - (account.logprobs if account else 0)
    of_prompt = parameters.n * prompt_tokens * _each(parameters.prompt_logprobs)
    streamed = parameters.output_kind is RequestOutputKind.DELTA
    per_token = 0 if streamed else parameters.n * _each(parameters.logprobs)
    room = max(1, context - prompt_tokens)
    most = room if parameters.max_tokens is None else min(parameters.max_tokens, room)
    longest = (left - of_prompt) // per_token if per_token else most
    is_single = account is not None and account.is_open and parameters.n == 1
    if is_single and most > longest >= 1 and most == room:
        parameters.max_tokens = most = longest
    if of_prompt > left or most > longest:
        asked = MOST - left + of_prompt + per_token * most
        raise RequestError(
            f"The request asks for {asked} logprobs, of its prompts and of the longest answers that it asks for, over "
            f"this server's limit of {MOST}.",
            "Lower logprobs, n or max_tokens, send a shorter prompt, or ask for a stream.",
        )
    if account is not None:
        account.logprobs += of_prompt + per_token * most


def _each(logprobs: int | None) -> int:
    """Logprobs for each token: so many likely ones, and its own; -1 stands for the whole vocabulary."""
    if logprobs is None:
        return 0
    return logprobs + 1 if logprobs >= 0 else MOST
