"""Encode prompts with the `tokenizers` library itself, without the layers of transformers above it.

A short prompt spends as long in transformers' checks and its BatchEncoding as in the tokenizer, on each request.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

_Encode = Callable[[str, bool], list[int]]
"""Returns the token ids of a text, with the model's special tokens or without."""


def encode_directly(client: "EngineClient") -> None:
    """Patch the renderer of `client`, if its tokenizer does no more than the library: the token ids stay the same."""
    renderer: Any = client.renderer
    encode = encoder(renderer.tokenizer)
    # For prompts with embeddings, vLLM adds a token to the tokenizer, but not to the copies that it calls.
    if encode is None or client.model_config.enable_prompt_embeds:
        return
    tokenize = renderer._tokenize_prompt

    def tokenize_prompt(prompt: Any, params: Any) -> Any:  # noqa: ANN401
        arguments = params.get_encode_kwargs()
        if not renderer._wants_offsets(prompt, params):
            ids = encode(prompt["prompt"], arguments["add_special_tokens"])
            if not arguments["truncation"] or len(ids) <= arguments["max_length"]:
                return renderer._build_tokens_prompt(ids, prompt)
        return tokenize(prompt, params)

    # vLLM's asynchronous method, for long prompts, keeps the old one and the tokenizers of its threads.
    renderer._tokenize_prompt = tokenize_prompt
    # transformers looks the attribute up in several dictionaries, and vLLM asks for it with each request.
    end_of_text = renderer.get_eos_token_id()
    renderer.get_eos_token_id = lambda: end_of_text


def encoder(tokenizer: Any) -> _Encode | None:  # noqa: ANN401
    """The function of the library that `tokenizer` calls; None for one with steps or settings of its own."""
    from transformers import TokenizersBackend

    if not isinstance(tokenizer, TokenizersBackend) or _called(type(tokenizer)) is not TokenizersBackend.__call__:
        return None
    kind, backend = type(tokenizer), tokenizer._tokenizer
    is_plain = kind._encode_plus is TokenizersBackend._encode_plus
    # What its file sets, transformers resets for each call, in tokenizers of its own for each thread.
    is_set = backend.truncation or backend.padding or backend.encode_special_tokens or tokenizer.split_special_tokens
    if is_set or not is_plain:
        return None

    def encode(text: str, add_special_tokens: bool) -> list[int]:
        ids: list[int] = backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids
        return ids

    return encode


def _called(kind: type) -> object:
    """The method `__call__` of a class without that of vLLM's pool, which passes the call on to a copy."""
    return next(vars(each)["__call__"] for each in kind.__mro__ if "__call__" in vars(each) and not _is_pool(each))


def _is_pool(kind: type) -> bool:
    return kind.__module__ == "vllm.tokenizers.hf"
