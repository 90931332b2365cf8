"""Why a model is split over so many GPUs, in a sentence. Pure."""

from collections.abc import Sequence

from ..hardware.gpu import Gpu
from .model_requirements import ModelRequirements
from .placement import Placement


def split(need: ModelRequirements, fit: Placement, gpus: Sequence[Gpu]) -> str:
    """How many of `gpus` are taken, by what rule, and what context that gives."""
    first = fit.gpus[0]
    alike = sum((gpu.name, gpu.memory_total_bytes) == (first.name, first.memory_total_bytes) for gpu in gpus)
    kind = "GPUs" if alike == len(gpus) else f"GPUs of the kind {first.name}"
    nodes = f", on each of {fit.nodes} nodes" if fit.nodes > 1 else ""
    copies = f", in {fit.replicas} copies" if fit.replicas > 1 else ""
    where, why = f"{kind}{nodes}{copies}", f"{_why(need, fit)}{_asked(need)}"
    return f"Split: over {len(fit.gpus)} of {alike} {where}, {why}."


def _asked(need: ModelRequirements) -> str:
    flags = {
        "--tensor-parallel-size": need.tensor_parallel_size,
        "--pipeline-parallel-size": need.pipeline_parallel_size,
    }
    given = " ".join(f"{flag} {size}" for flag, size in flags.items() if size is not None)
    return f", with {given}" if given else ""


def _why(need: ModelRequirements, fit: Placement) -> str:
    if fit.context < need.aim:
        return f"which hold {fit.context} of {need.aim} tokens: no split holds more"
    if fit.nodes > 1:
        return f"the fewest stages that hold all {need.aim} tokens"
    if fit.degrees.pipeline > 1 and need.pipeline_parallel_size is None:
        return f"the fewest that hold all {need.aim} tokens, which tensor parallelism alone does not"
    if (
        fit.degrees.tensor > 2 and need.pipeline_parallel_size is None
    ):  # a pipeline may do with fewer; it comes last, since it is slower
        return f"the fewest that hold all {need.aim} tokens by tensor parallelism alone"
    return f"the fewest that hold all {need.aim} tokens"
