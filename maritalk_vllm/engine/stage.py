"""vLLM's CPU worker as a later stage of a pipeline, which by itself has nowhere to put what the stage before sends.

vLLM makes that place in a first run that it leaves out on a CPU without torch.compile, and stops at the first request
(vllm/v1/worker/cpu_model_runner.py in 0.32: `warming_up_model`).
"""

from typing import Any

NAME = f"{__name__}.StageWorker"
"""What vLLM is to be told as `worker_cls`."""


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # vLLM asks for the class by its name, in the worker's process; to import it here would import vLLM.
    if name == "StageWorker":
        from vllm.v1.worker.cpu_worker import CPUWorker

        return type(name, (_Stage, CPUWorker), {})
    raise AttributeError(name)


class _Stage:
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
