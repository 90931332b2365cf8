"""Why it cannot be computed whether a model fits, in sentences. Pure."""

from ..errors import DoesNotFit
from .model_requirements import ModelRequirements


def unchecked(need: ModelRequirements) -> tuple[str, ...]:
    """Nothing where all that counts is known."""
    reasons = []
    if need.footprint is None:
        known = "Its size is unknown" if need.doubt else f"{need.title} is not on this machine and its size is unknown"
        reasons.append(f"{known}: nothing was checked against it.")
    elif unknown := need.footprint.shape.unknown:
        names = ", ".join(name.replace("_", " ") for name in unknown)
        reasons.append(f"Neither the configuration of {need.title} nor its weights say its {names}.")
    if need.flags.more:
        reasons.append(f"No plan counts {', '.join(need.flags.more)}, which may make vLLM take more.")
    return tuple(reasons)


def all_the_same(need: ModelRequirements, error: DoesNotFit) -> str | None:
    """Why a model is tried that does not fit by what is counted; None where nothing speaks for it."""
    flags = (*need.flags.less, *need.flags.more)
    if not flags:
        return None
    return f"By what is counted it lacks memory ({error.short}). No plan counts {', '.join(flags)}: it is tried."
