"""Texts that are too long to be a prompt: refused by their characters, before any of them becomes a token."""

import sys
from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from .border import our_errors

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient


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
            if len(prompt["prompt"]) > most:
                with our_errors():
                    raise too_many_characters(len(prompt["prompt"]), context, most)
            return tokenize(prompt, *rest, **named)

        return tokenize_checked

    # Of the second vLLM awaits what it returns.
    renderer._tokenize_prompt = checked(renderer._tokenize_prompt)
    renderer._tokenize_prompt_async = checked(renderer._tokenize_prompt_async)


def too_many_characters(characters: int, context_length: int, most: int) -> RequestError:
    """A text that no tokenizer has to look at."""
    return RequestError(
        f"The prompt has {characters} characters, and this model's context of {context_length} tokens holds at most "
        f"{most}.",
        "Shorten the prompt.",
    )
