"""A seed decides an answer, however many steps the prompt takes."""

from types import SimpleNamespace

import numpy
import pytest

from maritalk_vllm.engine.cpu_pipeline_worker import _restore_generators
from tests.serving import Server


def test_a_prompt_of_several_steps(shared_server: Server) -> None:
    """vLLM's own worker ends the engine over it."""
    body = {"prompt": "O rio corre para o mar. " * 400, "max_tokens": 4, "seed": 7, "n": 2}
    answer = shared_server.ask("/generate", body, timeout=240)
    assert (answer.status, len(answer.json["outputs"])) == (200, 2)


@pytest.mark.engine
def test_the_draws_of_a_step_that_ends_no_prompt() -> None:
    """A generator is where it was before the step; those of whole prompts go on."""
    import torch

    generators = {row: torch.Generator().manual_seed(5) for row in (0, 2)}
    batch, seen = SimpleNamespace(generators=dict(generators)), []

    def bookkeep() -> str:
        seen.append(dict(batch.generators))
        return "told"

    runner = SimpleNamespace(
        input_batch=batch,
        discard_request_mask=SimpleNamespace(np=numpy.array([True, True, False])),
        _sample=lambda: [torch.rand(1, generator=each).item() for each in batch.generators.values()],
        _bookkeeping_sync=bookkeep,
    )
    _restore_generators(runner)
    (first, alike), (again, later) = runner._sample(), runner._sample()
    assert first == alike == again != later
    assert runner._bookkeeping_sync() == "told"
    assert seen == [{2: generators[2]}]
    assert batch.generators == generators
