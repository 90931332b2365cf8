"""Limit the logprobs of a request: vLLM formats them without yielding, which blocks all other requests."""

from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from .exception_mapping import map_to_vllm_exceptions
from .request_usage import current, prompt_length

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

MAX_LOGPROBS = 16_384
"""Maximum logprobs of all prompts and answers of a request. Those of streamed answers do not count: they are formatted
piece by piece. Each takes about 20 µs: 14 to decode its text and 4 to serialize it."""


def limit_logprobs(client: "EngineClient") -> None:
    """Patch `client` to reject requests above the limit, and to cap a single answer without max_tokens at it."""
    generate, context = client.generate, int(client.model_config.max_model_len)

    def generate_limited(prompt: Any, parameters: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
        if (
            getattr(parameters, "logprobs", None) is not None
            or getattr(parameters, "prompt_logprobs", None) is not None
        ):
            with map_to_vllm_exceptions():
                _apply_limit(parameters, prompt_length(prompt), context)
        return generate(prompt, parameters, *rest, **named)

    client.generate = generate_limited


def _apply_limit(parameters: Any, prompt_tokens: int, context: int) -> None:  # noqa: ANN401
    """Set `parameters.max_tokens` if it may be lowered. Raises RequestError above the limit."""
    from vllm.sampling_params import RequestOutputKind

    usage = current.get()
    remaining = MAX_LOGPROBS - (usage.logprobs if usage else 0)
    prompt_logprobs = parameters.n * prompt_tokens * _per_token(parameters.prompt_logprobs)
    streamed = parameters.output_kind is RequestOutputKind.DELTA
    per_token = 0 if streamed else parameters.n * _per_token(parameters.logprobs)
    available = max(1, context - prompt_tokens)
    most = available if parameters.max_tokens is None else min(parameters.max_tokens, available)
    longest = (remaining - prompt_logprobs) // per_token if per_token else most
    is_single = usage is not None and usage.is_open and parameters.n == 1
    if is_single and most > longest >= 1 and most == available:
        parameters.max_tokens = most = longest
    if prompt_logprobs > remaining or most > longest:
        requested = MAX_LOGPROBS - remaining + prompt_logprobs + per_token * most
        raise RequestError(
            f"The request asks for {requested} logprobs, of its prompts and of the longest answers that it asks for, "
            f"over this server's limit of {MAX_LOGPROBS}.",
            "Lower logprobs, n or max_tokens, send a shorter prompt, or ask for a stream.",
        )
    if usage is not None:
        usage.logprobs += prompt_logprobs + per_token * most


def _per_token(logprobs: int | None) -> int:
    """Logprobs for each token: the `logprobs` likeliest and its own; -1 stands for the whole vocabulary."""
    if logprobs is None:
        return 0
    return logprobs + 1 if logprobs >= 0 else MAX_LOGPROBS
