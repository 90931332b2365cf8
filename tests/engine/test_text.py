"""An answer's text is vLLM's own, whether it comes whole or as a stream, whatever the tokenizer."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from maritalk_vllm.engine.completion import Completion
from maritalk_vllm.engine.generator import Generator
from maritalk_vllm.engine.sampling import Sampling
from tests.serving import Server

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

# What vLLM imports warns of itself.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

TEXTS = (
    "Olá! Que bom ver você aqui, João: 10 11 12.",
    "A ação não começou às três; começará à meia-noite, é claro...",
    "emoji 🐟🐕‍🦺 e 漢字, tudo junto\n\n  com   espaços",
    "日本語",
    " espaço antes",
)
SPECIAL = ["<unk>", "<s>", "</s>"]


def byte_level() -> Tokenizer:
    """As GPT-2's, Llama 3's and the demo model's: each token is some bytes of the text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Llama 2's, Mistral's and Sabiá's: a character that is no token is spelt in bytes, each of them a token.

    A word's space is part of its token, and that of a text's first word is left out.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(TEXTS[:1] * 3, trainer)
    trained = json.loads(tokenizer.to_str())
    vocabulary = trained["model"]["vocab"]
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    trained["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(trained))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def word_piece() -> Tokenizer:
    """As BERT's: a word's first token has a space before it, and the decoder tidies up around punctuation."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, "it's a dog , isn 't it ? do n't !"] * 3, trainer)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {each.__name__: each for each in (byte_level, byte_fallback, word_piece)}


def fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return fast(KINDS[request.param]())


@dataclass
class Engine:
    """Stands for vLLM's client and the engine behind it, with a model that answers these tokens.

    What makes text of them is vLLM's own output processor, which is given them in batches as the engine sends them.
    """

    tokenizer: PreTrainedTokenizerFast
    prompt: list[int]
    batches: list[list[int]]

    model_config = SimpleNamespace(max_model_len=10_000, is_encoder_decoder=False, skip_tokenizer_init=False)

    @property
    def renderer(self) -> Any:
        # Its tokenizer counts for the longest text alone.
        tokenizer = SimpleNamespace(max_chars_per_token=100)
        return SimpleNamespace(render_cmpl=lambda _: ({"prompt_token_ids": self.prompt},), tokenizer=tokenizer)

    async def generate(
        self, prompt: dict[str, list[int]], parameters: "SamplingParams", *, request_id: str, trace_headers: None
    ) -> AsyncGenerator["RequestOutput", None]:
        from vllm.v1.engine import EngineCoreOutput, FinishReason
        from vllm.v1.engine.output_processor import OutputProcessor

        processor = OutputProcessor(self.tokenizer, log_stats=True)
        processor.add_request(core_request(prompt["prompt_token_ids"], parameters, request_id), None)
        for number, tokens in enumerate(self.batches, 1):
            reason = FinishReason.LENGTH if number == len(self.batches) else None
            output = EngineCoreOutput(request_id, list(tokens), finish_reason=reason)
            for each in processor.process_outputs([output]).request_outputs:
                yield each
            if not processor.has_request(request_id):
                return


def core_request(prompt: list[int], parameters: "SamplingParams", name: str = "0") -> Any:
    from vllm.v1.engine import EngineCoreRequest

    return EngineCoreRequest(name, prompt, None, parameters, None, 0.0, None, None, None, external_req_id=name)


def own(tokenizer: PreTrainedTokenizerFast, prompt: list[int], answer: list[int], stop: tuple[str, ...]) -> str:
    """vLLM's own text, read token by token."""
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.detokenizer import IncrementalDetokenizer

    detokenizer = IncrementalDetokenizer.from_new_request(
        tokenizer, core_request(prompt, SamplingParams(stop=list(stop)))
    )
    for token in answer:
        if detokenizer.update([token], stop_terminated=False):
            break
    return detokenizer.get_next_output_text(finished=True, delta=False)


def texts(
    tokenizer: PreTrainedTokenizerFast, prompt: list[int], batches: list[list[int]], stop: tuple[str, ...], piece: int
) -> tuple[str, str, str]:
    """The whole answer, the pieces of a stream one after the other, and the whole that ends the stream."""
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=5000, stop=stop)

    async def ask() -> tuple[str, str, str]:
        generator = Generator(Engine(tokenizer, prompt, batches))
        whole = await generator.complete("", sampling)
        parts = [part async for part in generator.stream("", sampling, piece)]
        end = parts.pop()
        assert isinstance(end, Completion)
        pieces = "".join(part.text for part in parts if not isinstance(part, Completion))
        return whole.choices[0].text, pieces, end.choices[0].text

    return asyncio.run(ask())


STOPS = ("o", " v", "ção", "日", "。", "\ufffd", "tud", "\n\n", "t's a", "🐟")


@given(data=st.data())
def test_any_tokens(tokenizer: PreTrainedTokenizerFast, data: st.DataObject) -> None:
    backend = tokenizer.backend_tokenizer
    # By tokens alone most texts would be rubbish; by texts alone no character would be left unfinished.
    spelt = st.sampled_from(TEXTS).map(lambda text: backend.encode(text).ids)
    tokens = st.lists(st.integers(0, backend.get_vocab_size() - 1), max_size=8)
    sequence = st.lists(spelt | tokens, max_size=4).map(lambda parts: [token for part in parts for token in part])
    prompt, answer = data.draw(sequence), data.draw(sequence)
    stop = tuple(data.draw(st.lists(st.sampled_from(STOPS), max_size=2)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=4)))
    batches = [answer[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    expected = own(tokenizer, prompt, answer, stop)
    assert texts(tokenizer, prompt, batches, stop, data.draw(st.integers(1, 5))) == (expected,) * 3


@pytest.mark.parametrize(("answer", "text"), [([0x12], "\x12"), (list("é語".encode()), "é語"), ([0x41, 0xE8], "A")])
def test_bytes_after_a_prompt_in_bytes(answer: list[int], text: str) -> None:
    """The last one ends inside a character, of which nothing is shown."""
    tokenizer = fast(byte_fallback())
    prompt = tokenizer.backend_tokenizer.encode("日本語").ids
    spelt: list[int] = tokenizer.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in answer])
    assert texts(tokenizer, prompt, [spelt], (), 1) == (text,) * 3


def test_a_served_model_whose_tokenizer_spells_in_bytes(tmp_path: Path) -> None:
    fast(byte_fallback()).save_pretrained(tmp_path / "tokenizer")
    model = tmp_path / "tiny"
    command: list[str | Path] = [sys.executable, "-m", "tests.models.checkpoints", model, tmp_path / "tokenizer"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    server = Server(tmp_path, "--model", str(model))
    try:
        server.wait_until_ready()
        for prompt in (*TEXTS, "語"):
            asked = {"prompt": prompt, "max_tokens": 24}
            whole = server.ask("/generate", {**asked, "do_sample": False}).json["output"]
            streamed = server.ask("/generate", {**asked, "do_sample": False, "stream": True}).body.decode()
            data = [line[6:] for line in streamed.splitlines() if line.startswith("data: ")]
            *pieces, end = map(json.loads, data)
            of_vllm = server.ask("/v1/completions", {**asked, "temperature": 0}).json["choices"][0]["text"]
            assert "".join(piece["text"] for piece in pieces) == end["output"] == whole == of_vllm.removeprefix(" ")
    finally:
        server.stop()
