"""A plan as the command line that vLLM knows."""

from collections.abc import Sequence

from ..errors import UsageError
from ..planning.plan import Plan
from ..settings import Device

_OURS = {
    "--model": "use --model before the `--`",
    "--host": "use --host before the `--`",
    "--port": "use --port before the `--`",
    "--uds": "the server listens on a port",
    "--disable-log-stats": "the times in each answer come from these figures",
}


def engine_arguments(plan: Plan, name: str, location: str, more: Sequence[str]) -> list[str]:
    """vLLM's flags for this plan, with the user's own last, so that theirs win. Raises UsageError for one of ours."""
    for word in more:
        flag = word.partition("=")[0]
        if flag in _OURS:
            raise UsageError(f"{flag} cannot be given to vLLM: {_OURS[flag]}.")
    arguments = ["--model", location, "--served-model-name", name, "--dtype", plan.dtype]
    if plan.device is Device.CPU:
        # torch.compile takes a start from seconds to minutes on a CPU and gains little there.
        arguments += ["--enforce-eager"]
    for flag, value in (
        ("--max-model-len", plan.max_model_len),
        ("--kv-cache-memory-bytes", plan.kv_cache_bytes),
        ("--gpu-memory-utilization", plan.gpu_memory_utilization),
    ):
        if value is not None:
            arguments += [flag, str(value)]
    return [*arguments, *more]
