"""Choose one of a model's checkpoints, which differ in quantization: the best that fits. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import DoesNotFit, EngineError, NoSuitableGPU
from ..hardware.inventory import Inventory
from ..i18n.message import Number, joined, msg, sentences
from ..models.catalogue import Variant
from ..settings import Device
from .model_requirements import ModelRequirements
from .plan import Plan
from .planner import make_plan


def best_variant(
    variants: Sequence[ModelRequirements], inventory: Inventory, requested_device: Device, installed_device: Device
) -> ModelRequirements:
    """Return the first of `variants`, the best first, that has a plan, with the reason in `choice`.

    Better quality comes before a longer context and before fewer GPUs. If none has a plan, the smallest that lacks only
    memory is returned, so that the error of its plan says what is missing at least.
    """

    def plan(requirements: ModelRequirements) -> Plan:
        return make_plan(requirements, inventory, requested_device, installed_device)

    rejected: list[tuple[ModelRequirements, str]] = []
    for position, each in enumerate(variants):
        try:
            context = plan(each).max_model_len
        except DoesNotFit as error:
            rejected.append((each, error.message))
            continue
        except (NoSuitableGPU, EngineError):
            break  # the smaller ones need such a GPU as well
        parts = []
        if context is not None and context < each.planned_max_len:
            parts = [_longer_context(variants[position + 1 :], context, plan)]
        if each.variant is not None:
            best = msg("{name} is the best that fits.", name=each.name)
            parts = [best, *(message for _, message in rejected), _cost(each.variant), *parts]
        return replace(each, choice=sentences(*parts))
    return rejected[-1][0] if rejected else variants[0]


def _cost(variant: Variant) -> str:
    """What the quantization can cost in quality, with the scores of the model card if that has any."""
    scores = joined(
        ", ",
        (
            msg("{score}% in {benchmark}", score=Number(score, ".1f"), benchmark=benchmark)
            for benchmark, score in variant.scores.items()
        ),
    )
    return sentences(
        msg("Its weights have {bits} bits instead of 16, which can make answers worse.", bits=variant.bits),
        msg("Of the score with 16 bits, its model card reports {scores}.", scores=scores) if scores else "",
    )


def _longer_context(
    smaller: Sequence[ModelRequirements], context: int, plan: Callable[[ModelRequirements], Plan]
) -> str:
    """A sentence that names the first variant that holds more than `context` tokens; empty if none does."""
    for each in smaller:
        try:
            length = plan(each).max_model_len
        except (DoesNotFit, NoSuitableGPU, EngineError):
            break
        if length is not None and length > context:
            return msg("--model {name} would hold {number} tokens.", name=each.name, number=length)
    return ""
