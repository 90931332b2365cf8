"""A prompt that is encoded by the library itself has the token ids of vLLM's tokenizer."""

from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from maritalk_vllm.engine.prompt_encoding import encode_directly, encoder
from tests.engine.test_text import KINDS, SPECIAL, TEXTS, byte_level, fast

# Imports of vLLM cause warnings.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

PROMPTS = [*TEXTS, " <a> oi <b> oie ÇÃO ção Bom bom ", "", " ", "<s>Olá</s> <s>", "a\0b", "e\u0301 \ufffd", "x" * 5000]


def normalized() -> Tokenizer:
    """With the steps of Qwen's and Roberta's tokenizers, and added tokens that take the spaces around them."""
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    strips = [AddedToken("<a>", lstrip=True), AddedToken("<b>", rstrip=True), AddedToken("oi", single_word=True)]
    tokenizer.add_tokens([*strips, AddedToken("Ção", normalized=True), AddedToken("Bom", normalized=False)])
    return tokenizer


def unigram() -> Tokenizer:
    """Like T5's and Gemma's first tokenizers."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=100, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


ALL_KINDS = {**KINDS, "normalized": normalized, "unigram": unigram}


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
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_ids_are_those_of_vllms_tokenizer(kind: str, special: bool) -> None:
    tokenizer = served(fast(with_special_tokens(ALL_KINDS[kind]())))
    encode = encoder(tokenizer)
    assert encode is not None
    for text in PROMPTS:
        assert encode(text, special) == tokenizer(text, add_special_tokens=special)["input_ids"]
    assert encode("Olá", True) != encode("Olá", False)


def test_a_text_with_a_surrogate_raises_the_same_error() -> None:
    tokenizer = served(fast(byte_level()))
    encode = encoder(tokenizer)
    assert encode is not None
    errors = []
    for call in (lambda: encode("\ud800", False), lambda: tokenizer("\ud800")):
        with pytest.raises(Exception) as error:
            call()
        errors.append((error.type, str(error.value)))
    assert errors[0] == errors[1]


def test_a_tokenizer_with_its_own_steps_is_not_bypassed() -> None:
    from transformers import PreTrainedTokenizerFast

    class Lowered(PreTrainedTokenizerFast):  # type: ignore[misc]
        def __call__(self, text: str, **named: Any) -> Any:
            return super().__call__(text.lower(), **named)

    class Split(PreTrainedTokenizerFast):  # type: ignore[misc]
        def _encode_plus(self, text: Any, **named: Any) -> Any:
            return super()._encode_plus(text, **named)

    class Switched(PreTrainedTokenizerFast):  # type: ignore[misc]
        def _switch_to_input_mode(self) -> None:
            pass

    for kind in (Lowered, Split, Switched):
        assert encoder(served(kind(tokenizer_object=byte_level()))) is None
    assert encoder(None) is None


@pytest.mark.parametrize("setting", ["truncation", "padding", "split"])
def test_a_tokenizer_whose_settings_change_is_not_bypassed(setting: str) -> None:
    tokenizer = served(fast(byte_level()))
    encode = encoder(tokenizer)
    assert encode is not None and encode("Olá", False)
    if setting == "truncation":
        tokenizer._tokenizer.enable_truncation(1)
    elif setting == "padding":
        tokenizer._tokenizer.enable_padding(length=8)
    else:
        tokenizer.split_special_tokens = True
    assert encode("Olá", False) is None


class Renderer:
    """Stands for vLLM's renderer; `tokenized` are the texts that its own method got."""

    mm_processor: object = None

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


def patched(*, has_embeddings: bool = False, has_images: bool = False) -> Renderer:
    renderer = Renderer()
    renderer.mm_processor = object() if has_images else None
    client: Any = SimpleNamespace(renderer=renderer, model_config=SimpleNamespace(enable_prompt_embeds=has_embeddings))
    encode_directly(client)
    return renderer


def test_vllm_tokenizes_prompts_that_are_truncated_or_need_offsets() -> None:
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


@pytest.mark.parametrize("model", [{"has_embeddings": True}, {"has_images": True}])
def test_vllm_tokenizes_prompts_of_models_with_embeddings_or_images(model: dict[str, bool]) -> None:
    """vLLM and transformers add tokens for them."""
    from vllm.renderers import TokenizeParams

    renderer = patched(**model)
    renderer._tokenize_prompt({"prompt": "Olá"}, TokenizeParams(max_total_tokens=None))
    assert renderer.tokenized == ["Olá"]
