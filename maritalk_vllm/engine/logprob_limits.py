"""Limit the logprobs of a request: vLLM formats them without yielding, which blocks all other requests."""

from typing import TYPE_CHECKING

from ..errors import RequestError
from .request_usage import RequestUsage

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams

MAX_LOGPROBS = 12_288
"""Maximum logprobs of all prompts and answers of a request. Those of streamed answers do not count: they are formatted
piece by piece. Each takes 20 µs, and 30 on a slow machine: two thirds to decode its text, the rest to serialize it. All
together have to take less than half a second."""


def limit_logprobs(parameters: "SamplingParams", prompt_tokens: int, context: int, usage: RequestUsage | None) -> None:
    """Check the logprobs of one prompt of a request, and add them to its `usage`. Raises RequestError above the limit.

    Caps a single answer without max_tokens at the limit. `context`: the maximum tokens of prompt and answer together.
    """
    from vllm.sampling_params import RequestOutputKind

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
