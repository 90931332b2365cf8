"""`maritalk-vllm models`: the open models of the catalogue, and which of them fit this machine."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import MariTalkError
from ..i18n.message import numeral
from ..i18n.rendering import localized, say
from ..settings import Device, Settings
from ..text_format import gigabytes, table

if TYPE_CHECKING:
    from ..hardware.inventory import Inventory
    from ..models.catalogue import CatalogueModel
    from ..planning.model_requirements import ModelRequirements


@dataclass(frozen=True, slots=True)
class _Row:
    """A model, and what the planner says of it: the plan in words or why there is none, and a GPU that would do.

    `checkpoint` is the best that fits here, or else the one of which the planner says what it lacks. `is_slow`: it fits
    and is large for this machine's CPU. `gpu` would hold the model without quantization.
    """

    model: "CatalogueModel"
    checkpoint: "CatalogueModel"
    fits: bool
    is_slow: bool
    where: str
    gpu: str | None


def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List open models, and which of them fit here.

    `maritalk-serve --model NAME` serves one. Of a model with quantized variants, the best that fits is listed. Nothing
    is downloaded and no server is asked: the sizes are those of the catalogue.
    """
    rows = _rows()
    print(json.dumps([_data(row) for row in rows], indent=2, ensure_ascii=False) if as_json else _text(rows))


def _rows() -> list[_Row]:
    from ..engine.vllm_version import installed_vllm
    from ..hardware.probe import probe_hardware
    from ..models.catalogue import catalogue
    from ..planning.best_variant import best_variant

    inventory, installed = probe_hardware(), installed_vllm().device
    rows = []
    for model in catalogue().values():
        variants = [_requirements(each) for each in model.checkpoints]
        best = best_variant(variants, inventory, Device.AUTO, installed)
        checkpoint = next(each for each in model.checkpoints if each.variant == best.variant)
        rows.append(_Row(model, checkpoint, *_plan(best, inventory, installed), _smallest_gpu(variants[0])))
    return rows


def _requirements(checkpoint: "CatalogueModel") -> "ModelRequirements":
    from ..planning.model_requirements import ModelRequirements

    return ModelRequirements.from_settings(
        checkpoint.label, checkpoint.footprint, None, Settings(), variant=checkpoint.variant
    )


def _plan(requirements: "ModelRequirements", inventory: "Inventory", installed: Device) -> tuple[bool, bool, str]:
    """Whether the model fits this machine, whether it is slow there, and where it would run or why it does not fit."""
    from ..planning.plan_report import description
    from ..planning.planner import make_plan

    try:
        plan = make_plan(requirements, inventory, Device.AUTO, installed)
    except MariTalkError as error:
        return False, False, error.message
    return True, plan.is_slow, description(plan)


def _smallest_gpu(requirements: "ModelRequirements") -> str | None:
    """The smallest GPU that clouds rent out and that holds the model by itself; None if none does."""
    from ..hardware.gpu_catalog import gpu_models
    from ..planning.gpu_suggestions import suggestions

    found = suggestions(requirements, [gpu for gpu in gpu_models() if gpu.cloud])
    return next((each.gpu_model.short_name for each in found if each.count == 1), None)


def _text(rows: list[_Row]) -> str:
    from ..planning.plan import SLOW_TOKENS_PER_SECOND

    header = ("name", "fits here", "weights", "context", "languages", "licence")
    lines = table([tuple(map(localized, header)), *map(_cells, rows)])
    lines += ["", *(f"{row.checkpoint.label}: {localized(row.where)}" for row in rows)]
    if any(row.is_slow for row in rows):
        rate = SLOW_TOKENS_PER_SECOND
        lines += ["", say("Slow: a single user gets fewer than {number} tokens/s, by an estimate.", number=rate)]
    if bases := [row.model.name for row in rows if row.model.is_base]:
        lines += ["", say("A base model, which completes texts and has no chat: {names}", names=", ".join(bases))]
    if gated := [row.model for row in rows if row.model.must_be_accepted]:
        lines += ["", say("Accept the licence on the model's page with a Hugging Face account, and set HF_TOKEN:")]
        lines += [f"  {model.name}: {model.page}" for model in gated]
    lines += ["", say("Serve one with: maritalk-serve --model {name}", name=_example(rows))]
    return "\n".join(lines)


def _cells(row: _Row) -> tuple[str, ...]:
    model = row.model
    return (
        row.checkpoint.label,
        say("yes, slow") if row.is_slow else say("yes") if row.fits else say("no"),
        gigabytes(row.checkpoint.footprint.weights_bytes),
        numeral(model.shape.max_model_len or 0, ","),
        " ".join(model.languages),
        say("{license}, for research only", license=model.license) if model.is_for_research else model.license,
    )


def _example(rows: list[_Row]) -> str:
    """The recommended model if it fits, else the largest that fits and needs no acceptance, else the smallest.

    Models that would be slow count as not fitting if others do.
    """
    from ..models.catalogue import RECOMMENDED

    fitting = [row for row in rows if row.fits and not row.model.must_be_accepted and not row.model.is_base]
    names = [row.model.name for row in fitting if not row.is_slow] or [row.model.name for row in fitting]
    return RECOMMENDED if RECOMMENDED in names else next(reversed(names), rows[0].model.name)


def _data(row: _Row) -> dict[str, object]:
    model = row.model
    return {
        "name": model.name,
        "title": model.title,
        "hub_name": row.checkpoint.hub_name,
        "revision": row.checkpoint.revision,
        "license": model.license,
        "must_be_accepted": model.must_be_accepted,
        "is_for_research": model.is_for_research,
        "languages": model.languages,
        "parameters": model.parameters,
        "quantization": row.checkpoint.variant.quantization if row.checkpoint.variant else None,
        "checkpoints": [each.full_name for each in model.checkpoints],
        "weights_bytes": row.checkpoint.footprint.weights_bytes,
        "max_model_len": model.shape.max_model_len,
        "is_base": model.is_base,
        "fits": row.fits,
        "slow": row.is_slow,
        "where": row.where,
        "smallest_gpu": row.gpu,
    }
