"""A seed determines the answer, however many steps the prompt takes."""

from types import SimpleNamespace

import numpy
import pytest

from maritalk_vllm.engine.cpu_pipeline_worker import _restore_generators
from tests.serving import Server


def test_chunked_prompt_with_seed_is_answered(shared_server: Server) -> None:
    """With vLLM's own worker, this request ends the engine: a step of 2048 tokens has a part of the second prompt."""
    body = {"prompt": "O rio corre para o mar. " * 160, "max_tokens": 4, "seed": 7, "n": 2, "return_usage": True}
    answer = shared_server.ask("/generate", body, timeout=240)
    assert (answer.status, len(answer.json["outputs"])) == (200, 2)
    assert 1024 < answer.json["usage"]["prompt_tokens"] < 2048


@pytest.mark.engine
def test_draws_for_unfinished_prompts_are_undone() -> None:
    """Generators of unfinished prompts are restored after the step; those of finished prompts advance."""
    import torch

    generators = {row: torch.Generator().manual_seed(5) for row in (0, 2)}
    batch, seen = SimpleNamespace(generators=dict(generators)), []

    def bookkeep() -> str:
        seen.append(dict(batch.generators))
        return "result"

    runner = SimpleNamespace(
        input_batch=batch,
        discard_request_mask=SimpleNamespace(np=numpy.array([True, True, False])),
        _sample=lambda: [torch.rand(1, generator=each).item() for each in batch.generators.values()],
        _bookkeeping_sync=bookkeep,
    )
    _restore_generators(runner)
    (first, alike), (again, later) = runner._sample(), runner._sample()
    assert first == alike == again != later
    assert runner._bookkeeping_sync() == "result"
    assert seen == [{2: generators[2]}]
    assert batch.generators == generators
