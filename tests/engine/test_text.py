"""An answer read at once is the answer that vLLM reads token by token."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from maritalk_vllm.engine.text import Decoder
from maritalk_vllm.models import demo
from tests.demo_model import PROFILE

TEXTS = (
    "Olá! Que bom ver você aqui, João: 10 11 12.",
    "A ação não começou às três; começará à meia-noite, é claro...",
    "emoji 🐟🐕‍🦺 e 漢字, tudo junto\n\n  com   espaços",
    "",
    " espaço antes",
)


def token_by_token(tokenizer: Tokenizer, prompt: list[int], answer: list[int]) -> str:
    """As vLLM's FastIncrementalDetokenizer does."""
    stream = decoders.DecodeStream(ids=prompt, skip_special_tokens=True)
    return "".join(filter(None, (stream.step(tokenizer, token) for token in answer)))


@pytest.fixture(scope="module")
def byte_level(prepared_cache: Path) -> PreTrainedTokenizerFast:
    """The demo model's: a character may be spread over several tokens."""
    return PreTrainedTokenizerFast(tokenizer_file=str(demo.folder(PROFILE, prepared_cache) / "tokenizer.json"))


@pytest.fixture(scope="module")
def sentence_piece() -> PreTrainedTokenizerFast:
    """As Llama 2's and Sabiá's: a word's space is part of its token, and a text's first one is left out."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    tokenizer.add_tokens(pieces)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")


@pytest.mark.parametrize("kind", ["byte_level", "sentence_piece"])
@pytest.mark.parametrize("answer", TEXTS)
@pytest.mark.parametrize("prompt", TEXTS)
def test_texts(kind: str, prompt: str, answer: str, request: pytest.FixtureRequest) -> None:
    fast: PreTrainedTokenizerFast = request.getfixturevalue(kind)
    decode, tokenizer = Decoder(fast), fast.backend_tokenizer
    before, after = tokenizer.encode(prompt).ids, tokenizer.encode(answer).ids
    assert decode(before, after) == token_by_token(tokenizer, before, after)


@settings(
    max_examples=500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_tokens(byte_level: PreTrainedTokenizerFast, data: st.DataObject) -> None:
    # Prompts are made of texts; what a model answers may be anything.
    prompt = byte_level.backend_tokenizer.encode(data.draw(st.text(max_size=30))).ids
    # This vocabulary lacks some bytes. After a character that it lost a stream repeats the prompt's end.
    assume(not byte_level.backend_tokenizer.decode(prompt).endswith("\ufffd"))
    answer = data.draw(st.lists(st.integers(0, byte_level.vocab_size - 1), max_size=20))
    whole = Decoder(byte_level)(prompt, answer)
    streamed = token_by_token(byte_level.backend_tokenizer, prompt, answer)
    # Of a character that the end cuts, a stream holds back the whole token that begins it.
    assert whole.startswith(streamed)
    assert len(whole) - len(streamed) < 20


def test_a_tokenizer_that_is_read_in_another_way() -> None:
    assert Decoder.of(object()) is None
