"""LoRA adapters and speculative decoding, with the null worker: its tokens tell which adapter a request was given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cuda.host import CudaServer, Host
from tests.cuda.test_requests import COMPLETIONS, tokens_of

pytestmark = pytest.mark.cuda

ADAPTERS = {"first": 1, "second": 2}
"""Names, and the ids that vLLM gives them in this order."""

SPECULATION = '{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}'


@pytest.fixture(scope="module")
def server(drivers: Path, split_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CudaServer]:
    """A ready server with both. No process initialises CUDA until it has stopped."""
    folder = tmp_path_factory.mktemp("features")
    modules = []
    for name in ADAPTERS:
        (folder / name).mkdir()
        (folder / name / "adapter_config.json").write_text('{"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}')
        modules.append(f"{name}={folder / name}")
    engine = ("--enable-lora", "--lora-modules", *modules, "--speculative-config", SPECULATION)
    host = Host("A100", drivers, folder / "initialised")
    server = CudaServer(host, folder, "--model", str(split_model), engine=engine)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
    assert host.initialised_by() == []


def answer(server: CudaServer, model: str | None, number: int) -> tuple[list[int], list[int]]:
    """The prompt's tokens and the answer's `number` tokens."""
    body = {"prompt": "um dois três", "max_tokens": number, "ignore_eos": True, "return_token_ids": True}
    got = server.ask(COMPLETIONS, body | ({"model": model} if model else {}))
    assert got.status == 200, got.body
    (choice,) = got.json["choices"]
    return choice["prompt_token_ids"], choice["token_ids"]


def test_a_request_is_computed_with_the_adapter_that_it_names(server: CudaServer) -> None:
    prompt, tokens = answer(server, None, 30)
    assert tokens == tokens_of(prompt, 30)
    for name, adapter in ADAPTERS.items():
        assert answer(server, name, 30) == (prompt, tokens_of([*prompt, adapter], 30))


@pytest.mark.parametrize("number", [1, 2, 3, 100])
def test_an_answer_has_the_tokens_without_speculation(server: CudaServer, number: int) -> None:
    """Also where the last step has more tokens than the request wants."""
    before = server.counters()
    prompt, tokens = answer(server, None, number)
    assert tokens == tokens_of(prompt, number)
    assert server.counters()["vllm:generation_tokens_total"] - before["vllm:generation_tokens_total"] == number


def test_some_drafts_are_accepted_and_some_rejected(server: CudaServer) -> None:
    before = server.counters()
    answer(server, None, 100)
    after = server.counters()
    drafts, accepted = (
        after[name] - before[name]
        for name in ("vllm:spec_decode_num_draft_tokens_total", "vllm:spec_decode_num_accepted_tokens_total")
    )
    assert 0 < accepted < drafts
