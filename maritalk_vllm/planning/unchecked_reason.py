"""Sentences that explain why a plan could not be checked. Pure."""

from ..errors import DoesNotFit
from .model_requirements import ModelRequirements


def unchecked_reasons(requirements: ModelRequirements) -> tuple[str, ...]:
    """The reasons why the memory cannot be checked; empty if everything that counts is known."""
    reasons = []
    if requirements.footprint is None:
        known = (
            "Its size is unknown"
            if requirements.doubt
            else f"{requirements.title} is not on this machine and its size is unknown"
        )
        reasons.append(f"{known}: nothing was checked against it.")
    elif unknown := requirements.footprint.shape.unknown:
        names = ", ".join(name.replace("_", " ") for name in unknown)
        reasons.append(f"Neither the configuration of {requirements.title} nor its weights say its {names}.")
    if requirements.flags.may_increase:
        flags = ", ".join(requirements.flags.may_increase)
        reasons.append(f"The plan does not count {flags}, which may make vLLM use more memory.")
    return tuple(reasons)


def reason_to_try_anyway(requirements: ModelRequirements, error: DoesNotFit) -> str | None:
    """Why to try a model that does not fit by what is counted: flags that are not counted. None without such flags."""
    flags = (*requirements.flags.may_reduce, *requirements.flags.may_increase)
    if not flags:
        return None
    uncounted = ", ".join(flags)
    return (
        f"By the plan's estimate, memory is short ({error.short}). It does not count {uncounted}: the model is tried."
    )
