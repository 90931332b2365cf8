"""A prompt's token ids are the same as from vLLM's tokenizer, whatever the way to them."""

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, processors

from maritalk_vllm.engine.prompt_encoding import encode_directly, encoder
from tests.engine.test_text import KINDS, SPECIAL, TEXTS, byte_level, fast

# Imports of vLLM cause warnings.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

PROMPTS = [*TEXTS, "", " ", "<s>Olá</s> <s>", "a\0b", "e\u0301 \ufffd", "x" * 5000]


def with_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """Add the first token of a text, as Llama's tokenizers do."""
    first = ("<s>", SPECIAL.index("<s>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[first])
    return tokenizer


def served(tokenizer: Any) -> Any:
    """Wrap a tokenizer as vLLM does for its renderer."""
    from vllm.tokenizers.hf import get_cached_tokenizer, maybe_make_thread_pool

    return maybe_make_thread_pool(get_cached_tokenizer(tokenizer))


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ids_are_those_of_vllms_tokenizer(kind: str, special: bool) -> None:
    tokenizer = served(fast(with_special_tokens(KINDS[kind]())))
    encode = encoder(tokenizer)
    assert encode is not None
    for text in PROMPTS:
        assert encode(text, special) == tokenizer(text, add_special_tokens=special)["input_ids"]
    assert encode("Olá", True) != encode("Olá", False)


def test_a_text_that_is_no_unicode_is_the_same_error() -> None:
    tokenizer = served(fast(byte_level()))
    encode = encoder(tokenizer)
    assert encode is not None
    errors = []
    for call in (lambda: encode("\ud800", False), lambda: tokenizer("\ud800")):
        with pytest.raises(Exception) as error:
            call()
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


def test_a_tokenizer_with_steps_or_settings_of_its_own_is_called_itself() -> None:
    from transformers import PreTrainedTokenizerFast

    class Lowered(PreTrainedTokenizerFast):  # type: ignore[misc]
        def __call__(self, text: str, **named: Any) -> Any:
            return super().__call__(text.lower(), **named)

    class Split(PreTrainedTokenizerFast):  # type: ignore[misc]
        def _encode_plus(self, text: Any, **named: Any) -> Any:
            return super()._encode_plus(text, **named)

    for kind in (Lowered, Split):
        assert encoder(served(kind(tokenizer_object=byte_level()))) is None
    set_up = byte_level()
    set_up.enable_truncation(8)
    assert encoder(served(fast(set_up))) is None
    padded = byte_level()
    padded.enable_padding()
    assert encoder(served(fast(padded))) is None
    split = fast(byte_level())
    split.split_special_tokens = True
    assert encoder(served(split)) is None
    assert encoder(None) is None


class Renderer:
    """Stands for vLLM's renderer; `tokenized` are the texts that its own method got."""

    def __init__(self) -> None:
        self.tokenizer = served(fast(byte_level()))
        self.tokenized: list[str] = []

    def get_eos_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    def _wants_offsets(self, prompt: dict[str, str], params: Any) -> bool:
        return bool(params.return_token_offsets)

    def _build_tokens_prompt(self, ids: list[int], prompt: dict[str, str]) -> dict[str, Any]:
        return {"prompt_token_ids": ids, **prompt}

    def _tokenize_prompt(self, prompt: dict[str, str], params: Any) -> dict[str, Any]:
        self.tokenized.append(prompt["prompt"])
        return self._build_tokens_prompt(
            self.tokenizer(prompt["prompt"], **params.get_encode_kwargs())["input_ids"], prompt
        )


def patched(*, has_embeddings: bool = False) -> Renderer:
    renderer = Renderer()
    client: Any = SimpleNamespace(renderer=renderer, model_config=SimpleNamespace(enable_prompt_embeds=has_embeddings))
    encode_directly(client)
    return renderer


def test_prompts_that_are_truncated_or_need_offsets_take_vllms_way() -> None:
    from vllm.renderers import TokenizeParams

    renderer = patched()
    text = {"prompt": "Olá! Que bom ver você aqui."}
    whole = renderer._tokenize_prompt(text, TokenizeParams(max_total_tokens=None))["prompt_token_ids"]
    fits = TokenizeParams(max_total_tokens=len(whole))
    assert renderer._tokenize_prompt(text, fits)["prompt_token_ids"] == whole
    assert renderer.tokenized == []
    cut = TokenizeParams(max_total_tokens=100, truncate_prompt_tokens=3)
    assert renderer._tokenize_prompt(text, cut)["prompt_token_ids"] == whole[:3]
    too_long = TokenizeParams(max_total_tokens=len(whole) - 3)
    # One token more than is allowed: enough for vLLM to reject it.
    assert len(renderer._tokenize_prompt(text, too_long)["prompt_token_ids"]) == len(whole) - 2
    renderer._tokenize_prompt(text, TokenizeParams(max_total_tokens=None, return_token_offsets=True))
    assert renderer.tokenized == [text["prompt"]] * 3
    assert renderer.get_eos_token_id() == SPECIAL.index("</s>")


def test_prompts_with_embeddings_take_vllms_way() -> None:
    from vllm.renderers import TokenizeParams

    renderer = patched(has_embeddings=True)
    renderer._tokenize_prompt({"prompt": "Olá"}, TokenizeParams(max_total_tokens=None))
    assert renderer.tokenized == ["Olá"]
