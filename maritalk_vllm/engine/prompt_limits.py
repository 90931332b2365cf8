"""Reject prompts that are too long by their characters, before tokenizing them."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from .exception_mapping import map_to_vllm_exceptions

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

MAX_PROMPTS_RATIO = 4
"""Maximum total characters of a request's prompts, as a multiple of the maximum of one prompt: while they are
tokenized, the prompts of other requests wait."""


def max_characters(client: "EngineClient") -> int:
    """Maximum characters of a prompt: a context of the longest tokens, as vLLM computes it for its own routes."""
    tokenizer = client.renderer.tokenizer
    if tokenizer is None:  # with --skip-tokenizer-init, prompts are token ids
        return sys.maxsize
    return int(client.model_config.max_model_len) * int(tokenizer.max_chars_per_token)


def reject_long_prompts(client: "EngineClient") -> None:
    """Patch the renderer of `client` to reject longer texts on all routes; vLLM's `/tokenize` has no limit."""
    renderer, context, most = client.renderer, client.model_config.max_model_len, max_characters(client)

    def with_check(tokenize: Any) -> Any:  # noqa: ANN401
        def tokenize_checked(prompt: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
            with map_to_vllm_exceptions():
                check_characters([len(prompt["prompt"])], context, most)
            return tokenize(prompt, *rest, **named)

        return tokenize_checked

    # The second returns an awaitable, which vLLM awaits.
    renderer._tokenize_prompt = with_check(renderer._tokenize_prompt)
    renderer._tokenize_prompt_async = with_check(renderer._tokenize_prompt_async)


def check_characters(prompts: Sequence[int], context_length: int, most: int) -> None:
    """Check the lengths of a request's prompts, in characters, against `most`. Raises RequestError."""
    if (longest := max(prompts, default=0)) > most:
        raise RequestError(
            f"The prompt has {longest} characters, and this model's context of {context_length} tokens holds at most "
            f"{most}.",
            "Shorten the prompt.",
        )
    if (together := sum(prompts)) > MAX_PROMPTS_RATIO * most:
        raise RequestError(
            f"The request's prompts have {together} characters together, over this server's limit of "
            f"{MAX_PROMPTS_RATIO * most}.",
            "Send several requests.",
        )


def check_number(name: str, number: int, context_length: int) -> None:
    """Check a number of messages or tokens, each at least one token of the context. Raises RequestError."""
    if number > context_length:
        raise RequestError(
            f"{name}: {number} were given, and this model's context has {context_length} tokens.", "Send fewer."
        )
