"""Encode prompts with the `tokenizers` library itself, without the layers of transformers above it.

A short prompt spends as long in transformers' checks and its BatchEncoding as in the tokenizer, on each request.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.engine.protocol import EngineClient

_Encode = Callable[[str, bool], list[int] | None]
"""Returns the token ids of a text, with the model's special tokens or without; None if transformers has to do it."""

_STEPS = ("_encode_plus", "_convert_encoding", "set_truncation_and_padding")
"""Methods of transformers by which a text becomes token ids."""


def encode_directly(client: "EngineClient") -> None:
    """Patch the renderer of `client`, if its tokenizer does no more than the library: the token ids stay the same."""
    renderer: Any = client.renderer
    encode = encoder(renderer.tokenizer)
    # A processor of images and the placeholder of embeddings add tokens to this tokenizer, perhaps after vLLM has made
    # the copies that it calls.
    if encode is None or renderer.mm_processor is not None or client.model_config.enable_prompt_embeds:
        return
    tokenize = renderer._tokenize_prompt

    def tokenize_prompt(prompt: Any, params: Any) -> Any:  # noqa: ANN401
        arguments = params.get_encode_kwargs()
        if not renderer._wants_offsets(prompt, params):
            ids = encode(prompt["prompt"], arguments["add_special_tokens"])
            if ids is not None and (not arguments["truncation"] or len(ids) <= arguments["max_length"]):
                return renderer._build_tokens_prompt(ids, prompt)
        return tokenize(prompt, params)

    # vLLM's asynchronous method, for long prompts, still calls the original, with vLLM's copies of the tokenizer.
    renderer._tokenize_prompt = tokenize_prompt
    # transformers looks the attribute up in several dictionaries, and vLLM asks for it with each request.
    end_of_text = renderer.get_eos_token_id()
    renderer.get_eos_token_id = lambda: end_of_text


def encoder(tokenizer: Any) -> _Encode | None:  # noqa: ANN401
    """Return the library's function for `tokenizer`; None if its class has steps of its own."""
    from transformers import TokenizersBackend

    if not isinstance(tokenizer, TokenizersBackend) or hasattr(tokenizer, "_switch_to_input_mode"):
        return None
    kind, backend = type(tokenizer), tokenizer._tokenizer
    has_own_steps = any(getattr(kind, step) is not getattr(TokenizersBackend, step) for step in _STEPS)
    if has_own_steps or _call(kind) is not TokenizersBackend.__call__:
        return None

    def encode(text: str, add_special_tokens: bool) -> list[int] | None:
        # A tokenizer's file may set the first two. transformers turns them off at each call, but in vLLM's copies only.
        if backend.truncation or backend.padding or backend.encode_special_tokens or tokenizer.split_special_tokens:
            return None
        ids: list[int] = backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids
        return ids

    return encode


def _call(kind: type) -> object:
    """The `__call__` of a class, without that of vLLM's pool, which only calls a copy of the tokenizer."""
    classes = (each for each in kind.__mro__ if each.__module__ != "vllm.tokenizers.hf")
    return next(vars(each)["__call__"] for each in classes if "__call__" in vars(each))
