"""vLLM's CPU worker with two fixes that vLLM 0.32 lacks.

- A later pipeline stage has no buffer for the tensors that the previous stage sends. vLLM allocates it in a warm-up
  run that it skips without torch.compile, and fails at the first request (vllm/v1/worker/cpu_model_runner.py:
  `warming_up_model`).
- vLLM samples after each step of a chunked prompt, and undoes all draws but the last by setting the offset of the
  request's random generator. CPU generators have no offset, so a request with a seed ended the engine
  (vllm/v1/worker/gpu_model_runner.py: `_bookkeeping_sync`).
"""

from typing import Any

NAME = f"{__name__}.Worker"
"""The value of vLLM's `worker_cls`."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # vLLM resolves the class by name in the worker process. Importing it at module level would import vLLM.
    if name == "Worker":
        from vllm.v1.worker.cpu_worker import CPUWorker

        return type(name, (_WorkerFixes, CPUWorker), {})
    raise AttributeError(name)


class _WorkerFixes:
    """Mixin for vLLM's CPUWorker; must precede it in the bases."""

    def load_model(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        """Load the layers of this stage and allocate the buffer for its input tensors."""
        from vllm.distributed.parallel_state import get_pp_group

        super().load_model(*arguments, **named)  # type: ignore[misc]
        runner = self.model_runner  # type: ignore[attr-defined]
        if runner.intermediate_tensors is None and not get_pp_group().is_first_rank:
            runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
                batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
            )
        _restore_generators(runner)


def _restore_generators(runner: Any) -> None:  # noqa: ANN401
    """Patch `runner` to restore the random generators of unfinished prompts after each step."""
    sample, bookkeep = runner._sample, runner._bookkeeping_sync

    def unfinished_generators() -> dict[int, Any]:
        return {row: each for row, each in runner.input_batch.generators.items() if runner.discard_request_mask.np[row]}

    def sample_and_restore(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        states = [(generator, generator.get_state()) for generator in unfinished_generators().values()]
        sampled = sample(*arguments, **named)
        for generator, state in states:
            generator.set_state(state)
        return sampled

    def bookkeep_without_unfinished(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        generators = runner.input_batch.generators
        removed = {row: generators.pop(row) for row in unfinished_generators()}
        try:
            return bookkeep(*arguments, **named)
        finally:
            generators |= removed

    runner._sample, runner._bookkeeping_sync = sample_and_restore, bookkeep_without_unfinished
