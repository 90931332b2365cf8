"""A sentence that explains the number of GPUs of a split. Pure."""

from collections.abc import Sequence

from ..hardware.gpu import Gpu
from .model_requirements import ModelRequirements
from .placement import Placement


def describe_split(requirements: ModelRequirements, fit: Placement, gpus: Sequence[Gpu]) -> str:
    """How many of `gpus` are used, by which rule, and for which context."""
    first = fit.gpus[0]
    identical = sum((gpu.name, gpu.memory_total_bytes) == (first.name, first.memory_total_bytes) for gpu in gpus)
    kind = "GPUs" if identical == len(gpus) else f"GPUs of the kind {first.name}"
    nodes = f", on each of {fit.nodes} nodes" if fit.nodes > 1 else ""
    replicas = f", in {fit.replicas} copies" if fit.replicas > 1 else ""
    where, why = f"{kind}{nodes}{replicas}", f"{_reason(requirements, fit)}{_user_flags(requirements)}"
    return f"Split: over {len(fit.gpus)} of {identical} {where}, {why}."


def _user_flags(requirements: ModelRequirements) -> str:
    flags = {
        "--tensor-parallel-size": requirements.tensor_parallel_size,
        "--pipeline-parallel-size": requirements.pipeline_parallel_size,
    }
    text = " ".join(f"{flag} {size}" for flag, size in flags.items() if size is not None)
    return f", with {text}" if text else ""


def _reason(requirements: ModelRequirements, fit: Placement) -> str:
    if fit.context < requirements.planned_max_len:
        return f"which hold {fit.context} of {requirements.planned_max_len} tokens: no split holds more"
    if fit.nodes > 1:
        return f"the fewest stages that hold all {requirements.planned_max_len} tokens"
    if fit.parallelism.pipeline > 1 and requirements.pipeline_parallel_size is None:
        return (
            f"the fewest that hold all {requirements.planned_max_len} tokens, which tensor parallelism alone does not"
        )
    # A pipeline may need fewer GPUs, but is tried last, since it is slower.
    if fit.parallelism.tensor > 2 and requirements.pipeline_parallel_size is None:
        return f"the fewest that hold all {requirements.planned_max_len} tokens by tensor parallelism alone"
    return f"the fewest that hold all {requirements.planned_max_len} tokens"
