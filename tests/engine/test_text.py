"""The text of an answer equals vLLM's own, whole and streamed, with any tokenizer."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from maritalk_vllm.engine.completion import Completion
from maritalk_vllm.engine.generator import Generator
from maritalk_vllm.engine.sampling import Message, Sampling
from tests.models.checkpoints import make_served
from tests.serving import Server

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

# Imports of vLLM cause warnings.
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
    """Like GPT-2's, Llama 3's and the demo model's: each token is a sequence of bytes of the text."""
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
    """Like Llama 2's, Mistral's and Sabiá's: a character without a token is encoded as bytes, one token for each.

    The space before a word is part of its token; the space before the first word of a text is omitted.
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
    """Like BERT's: the decoder adds a space before the first token of a word, and cleans up around punctuation."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, "it's a dog , isn 't it ? do n't !"] * 3, trainer)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {each.__name__: each for each in (byte_level, byte_fallback, word_piece)}


def fast(tokenizer: Tokenizer) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast  # not at the top: other lanes import this file too

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> "PreTrainedTokenizerFast":
    return fast(KINDS[request.param]())


@dataclass
class Engine:
    """Stands for vLLM's client and engine, with a model that generates fixed tokens.

    vLLM's own output processor detokenizes them. It receives them in batches, as the engine sends them.
    """

    tokenizer: "PreTrainedTokenizerFast"
    prompt: list[int]
    batches: list[list[int]]

    model_config = SimpleNamespace(
        max_model_len=10_000, is_encoder_decoder=False, skip_tokenizer_init=False, enable_prompt_embeds=False
    )

    @property
    def renderer(self) -> Any:
        # Its tokenizer is used only for the maximum length of a prompt.
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


def vllm_text(tokenizer: "PreTrainedTokenizerFast", prompt: list[int], answer: list[int], stop: tuple[str, ...]) -> str:
    """vLLM's own text, detokenized token by token."""
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
    tokenizer: "PreTrainedTokenizerFast", prompt: list[int], batches: list[list[int]], stop: tuple[str, ...], piece: int
) -> tuple[str, str, str]:
    """The whole answer, the joined pieces of a stream, and the completion that ends the stream."""
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
def test_any_tokens_give_vllms_text(tokenizer: "PreTrainedTokenizerFast", data: st.DataObject) -> None:
    backend = tokenizer.backend_tokenizer
    # Random tokens alone give mostly garbage; tokenized texts alone never end within a character.
    encoded = st.sampled_from(TEXTS).map(lambda text: backend.encode(text).ids)
    tokens = st.lists(st.integers(0, backend.get_vocab_size() - 1), max_size=8)
    sequence = st.lists(encoded | tokens, max_size=4).map(lambda parts: [token for part in parts for token in part])
    prompt, answer = data.draw(sequence), data.draw(sequence)
    stop = tuple(data.draw(st.lists(st.sampled_from(STOPS), max_size=2)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=4)))
    batches = [answer[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    expected = vllm_text(tokenizer, prompt, answer, stop)
    assert texts(tokenizer, prompt, batches, stop, data.draw(st.integers(1, 5))) == (expected,) * 3


@pytest.mark.parametrize(("answer", "text"), [([0x12], "\x12"), (list("é語".encode()), "é語"), ([0x41, 0xE8], "A")])
def test_byte_tokens_after_a_byte_prompt(answer: list[int], text: str) -> None:
    """The last answer ends within a character, which is omitted."""
    tokenizer = fast(byte_fallback())
    prompt = tokenizer.backend_tokenizer.encode("日本語").ids
    encoded: list[int] = tokenizer.convert_tokens_to_ids([f"<0x{byte:02X}>" for byte in answer])
    assert texts(tokenizer, prompt, [encoded], (), 1) == (text,) * 3


@pytest.mark.nightly
def test_served_model_with_byte_fallback_tokenizer(tmp_path: Path) -> None:
    fast(byte_fallback()).save_pretrained(tmp_path / "tokenizer")
    model = make_served(tmp_path / "tiny", tmp_path / "tokenizer")
    server = Server(tmp_path, "--model", str(model))
    try:
        server.wait_until_ready()
        for prompt in (*TEXTS, "語"):
            body = {"prompt": prompt, "max_tokens": 24}
            whole = server.ask("/generate", {**body, "do_sample": False}).json["output"]
            streamed = server.ask("/generate", {**body, "do_sample": False, "stream": True}).body.decode()
            data = [line[6:] for line in streamed.splitlines() if line.startswith("data: ")]
            *pieces, end = map(json.loads, data)
            of_vllm = server.ask("/v1/completions", {**body, "temperature": 0}).json["choices"][0]["text"]
            assert "".join(piece["text"] for piece in pieces) == end["output"] == whole == of_vllm.removeprefix(" ")
    finally:
        server.stop()


def test_chat_template_gets_the_servers_arguments(tokenizer: "PreTrainedTokenizerFast") -> None:
    """Those of --default-chat-template-kwargs, as on vLLM's own routes; the template has the special tokens."""
    given = []

    class Recording(Engine):
        @property
        def renderer(self) -> Any:
            def render_chat(_: object, parameters: Any, tokens: Any) -> Any:
                given.append((parameters.chat_template_kwargs, tokens.add_special_tokens))
                return [], ({"prompt_token_ids": self.prompt},)

            return SimpleNamespace(render_chat=render_chat, tokenizer=SimpleNamespace(max_chars_per_token=100))

    generator = Generator(Recording(tokenizer, [3], [[4]]), None, {"enable_thinking": False})
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=1)
    asyncio.run(generator.complete([Message(role="user", content="oi")], sampling))
    assert given == [({"enable_thinking": False, "add_generation_prompt": True, "tokenize": False}, False)]
