"""vLLM's CPU worker, with two things that it lacks in 0.32.

- A later stage of a pipeline has nowhere to put what the stage before sends: vLLM makes that place in a first run that
  it leaves out without torch.compile, and stops at the first request (vllm/v1/worker/cpu_model_runner.py:
  `warming_up_model`).
- A prompt that is computed in several steps is sampled after each, and vLLM takes the draws of all but the last back by
  setting the offset of the request's random generator. Those of a CPU have none: a request with a seed ended the engine
  (vllm/v1/worker/gpu_model_runner.py: `_bookkeeping_sync`).
"""

from typing import Any

NAME = f"{__name__}.Worker"
"""The value of vLLM's `worker_cls`."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # vLLM asks for the class by its name, in the worker's process; to import it here would import vLLM.
    if name == "Worker":
        from vllm.v1.worker.cpu_worker import CPUWorker

        return type(name, (_Completed, CPUWorker), {})
    raise AttributeError(name)


class _Completed:
    """Goes before vLLM's class."""

    def load_model(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        """Load this stage's layers, and make room for what they are given."""
        from vllm.distributed.parallel_state import get_pp_group

        super().load_model(*arguments, **named)  # type: ignore[misc]
        runner = self.model_runner  # type: ignore[attr-defined]
        if runner.intermediate_tensors is None and not get_pp_group().is_first_rank:
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
            )
        _take_draws_back(runner)


def _take_draws_back(runner: Any) -> None:  # noqa: ANN401
    """Let the generators of prompts that are not whole yet be as they were before the step."""
    sample, bookkeep = runner._sample, runner._bookkeeping_sync

    def of_unfinished() -> dict[int, Any]:
        return {row: each for row, each in runner.input_batch.generators.items() if runner.discard_request_mask.np[row]}

    def sample_and_take_back(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        states = [(generator, generator.get_state()) for generator in of_unfinished().values()]
        sampled = sample(*arguments, **named)
        for generator, state in states:
            generator.set_state(state)
        return sampled

    def bookkeep_without_them(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        generators = runner.input_batch.generators
        unfinished = {row: generators.pop(row) for row in of_unfinished()}
        try:
            return bookkeep(*arguments, **named)
        finally:
            generators |= unfinished

    runner._sample, runner._bookkeeping_sync = sample_and_take_back, bookkeep_without_them
