"""Texts that are too long to be a prompt: refused by their characters, before any of them becomes a token."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from .exception_mapping import map_to_vllm_exceptions

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

MOST_TIMES = 4
"""The prompts of one request may have so many times the characters of the longest together: while they become tokens,
those of other requests wait."""


def most_characters(client: "EngineClient") -> int:
    """What the context holds of the longest tokens, as vLLM counts for its own routes that generate."""
    tokenizer = client.renderer.tokenizer
    if tokenizer is None:  # with --skip-tokenizer-init, prompts are no texts
        return sys.maxsize
    return int(client.model_config.max_model_len) * int(tokenizer.max_chars_per_token)


def refuse_long_texts(client: "EngineClient") -> None:
    """Have this client's renderer refuse longer texts on every route: vLLM has no bound where it only counts tokens."""
    renderer, context, most = client.renderer, client.model_config.max_model_len, most_characters(client)

    def checked(tokenize: Any) -> Any:  # noqa: ANN401
        def tokenize_checked(prompt: Any, *rest: Any, **named: Any) -> Any:  # noqa: ANN401
            with map_to_vllm_exceptions():
                check_characters([len(prompt["prompt"])], context, most)
            return tokenize(prompt, *rest, **named)

        return tokenize_checked

    # Of the second vLLM awaits what it returns.
    renderer._tokenize_prompt = checked(renderer._tokenize_prompt)
    renderer._tokenize_prompt_async = checked(renderer._tokenize_prompt_async)


def check_characters(prompts: Sequence[int], context_length: int, most: int) -> None:
    """Raises RequestError for prompts of a request, in characters, that no tokenizer has to look at."""
    if (longest := max(prompts, default=0)) > most:
        raise RequestError(
            f"The prompt has {longest} characters, and this model's context of {context_length} tokens holds at most "
            f"{most}.",
            "Shorten the prompt.",
        )
    if (together := sum(prompts)) > MOST_TIMES * most:
        raise RequestError(
            f"The request's prompts have {together} characters together, over this server's limit of "
            f"{MOST_TIMES * most}.",
            "Send several requests.",
        )


def check_number(name: str, number: int, context_length: int) -> None:
    """Raises RequestError for more messages or tokens than the context has tokens: a message is a token at least."""
    if number > context_length:
        raise RequestError(
            f"{name}: {number} were given, and this model's context has {context_length} tokens.", "Send fewer."
        )
