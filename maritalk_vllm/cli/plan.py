"""`maritalk-vllm plan`: how a model would be served, on this machine or on other GPUs, without loading it."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DoesNotFit, MariTalkError, NotChecked, UsageError
from ..i18n.message import msg
from ..i18n.rendering import say
from ..licensing.entitlement import EVALUATION_KEY
from ..settings import Device, Settings
from ..text_format import gigabytes, table
from . import standard_streams
from .capacity import PARAMETERS, capacity, reject_without_users
from .settings_options import parameter, with_settings

if TYPE_CHECKING:
    from ..planning.gpu_suggestions import Suggestion

_ROWS_PER_COUNT = 8
"""Suggestions that are shown for each number of GPUs, the likely cheapest."""


def plan(
    ctx: typer.Context,
    settings: Settings,
    *,
    gpus: str | None,
    as_json: bool,
    suggest: bool,
    users: int | None,
    **options: Any,  # noqa: ANN401
) -> None:
    """Show how a model would be served, and load nothing. Takes the options of maritalk-serve too.

    Exit codes: 0 it fits, 4 no suitable GPU, 5 it does not fit, 9 not checked: the memory it needs is unknown.
    """
    if settings.model is None and settings.license is None:
        standard_streams.note(say("No licence and no model were given: this is about the demo model."))
        settings = replace(settings, license=EVALUATION_KEY)
    if users is not None:
        if suggest:
            raise UsageError("--suggest looks at what holds the model, not at users.", "Give --gpus with --users.")
        capacity(settings, gpus, as_json, users, options)
        return
    reject_without_users(options)
    if suggest:
        if gpus:
            raise UsageError("--suggest looks at all cards of the table.", "Leave --gpus out.")
        _suggest(settings, as_json)
    else:
        _plan(settings, gpus, as_json)


def _plan(settings: Settings, gpus: str | None, as_json: bool) -> None:
    from ..engine.vllm_version import installed_vllm
    from ..hardware.gpu_catalog import gpu_models, hypothetical_machine, parse_node_prefix
    from ..hardware.inventory import Inventory
    from ..hardware.probe import probe_hardware
    from ..licensing.license_check import LicenseCheck
    from ..planning.gpu_selection import unusable_gpus
    from ..planning.plan import Outcome
    from ..planning.plan_report import as_data, as_refusal, report
    from ..planning.planner import make_plan
    from ..server.startup.kv_record import measured_plan
    from ..server.startup.launch import model_requirements
    from ..server.startup.variant_choice import choose_variant

    inventory, model, vllm = Inventory((), None), settings.model, None
    if gpus:
        nodes, gpus = parse_node_prefix(gpus)
        if nodes > 1 and settings.nodes not in (1, nodes):
            raise UsageError(
                msg(
                    "--gpus names {number} nodes, and --nodes says {nodes}.",
                    number=nodes,
                    nodes=settings.nodes,
                ),
                "Leave --nodes out.",
            )
        settings = replace(settings, nodes=max(nodes, settings.nodes))
    try:
        if gpus:
            inventory, requested_device, installed_device = hypothetical_machine(gpus), Device.CUDA, Device.CUDA
        else:
            inventory, vllm = probe_hardware(gpus=settings.device is not Device.CPU), installed_vllm()
            requested_device, installed_device = settings.device, vllm.device
        variant = choose_variant(settings, inventory, requested_device, installed_device)
        settings = variant.applied(settings)
        requirements = model_requirements(settings, LicenseCheck(settings), variant.reason, ask_hub=True)
        model = requirements.name
        result = make_plan(requirements, inventory, requested_device, installed_device, gpu_models)
        if vllm is not None:
            result, _ = measured_plan(result, requirements, inventory, settings, vllm.version)
    except UsageError:
        raise
    except MariTalkError as error:
        if as_json:
            _print(as_refusal(model, error, unusable_gpus(inventory)))
        raise
    if as_json:
        _print(as_data(result))
    else:
        print("\n".join(report(result)))
    if result.outcome is Outcome.NOT_CHECKED:
        raise typer.Exit(NotChecked.exit_code)


def _suggest(settings: Settings, as_json: bool) -> None:
    from ..hardware.gpu_catalog import gpu_models
    from ..licensing.license_check import LicenseCheck
    from ..planning.gpu_suggestions import cheapest_rented, suggestions
    from ..server.startup.launch import model_requirements

    requirements = model_requirements(settings, LicenseCheck(settings), ask_hub=True)
    if requirements.footprint is None:
        raise NotChecked(
            requirements.doubt or msg("The size of {title} is unknown.", title=requirements.title), "Download it first."
        )
    found = suggestions(requirements, gpu_models())
    if not found:
        raise DoesNotFit(
            msg("No eight cards of one kind in the table hold {title} as it was asked for.", title=requirements.title)
        )
    if as_json:
        rows = [
            {
                "gpus": f"{each.count}x{each.gpu_model.short_name}",
                "count": each.count,
                "name": each.gpu_model.names[0],
                "memory_total_bytes": each.memory_total_bytes,
            }
            for each in found
        ]
        _print({"model": requirements.name, "suggestions": rows})
    else:
        print("\n".join(_suggestion_lines(requirements.title, found, cheapest_rented(found))))


def _suggestion_lines(title: str, found: "Sequence[Suggestion]", rented: "Sequence[Suggestion]") -> Iterator[str]:
    if rented:
        gpus = ", ".join(map(str, rented))
        yield say("{title} fits on these GPUs of large clouds: {gpus}.", title=title, gpus=gpus)
    else:
        yield say("{title} fits on no GPUs of large clouds, and on these:", title=title)
    yield ""
    shown, counts = [], Counter[int]()
    for each in found:
        counts[each.count] += 1
        if counts[each.count] <= _ROWS_PER_COUNT or each in rented:
            shown.append(each)
    yield from table([(str(each), gigabytes(each.memory_total_bytes)) for each in shown])
    if left := len(found) - len(shown):
        yield say("... and {number} more: --json has all.", number=left)


def _print(content: dict[str, Any]) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


_GPUS = Annotated[
    str | None,
    typer.Option(
        "--gpus",
        metavar="4xA10,...",
        help="Plan for these cards instead of this machine's; `2 nodes of 4xA10` are those of two.",
        show_default=False,
    ),
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SUGGEST = Annotated[bool, typer.Option("--suggest", help="Which cards would hold the model: what to rent.")]

command = with_settings(
    plan,
    parameter("gpus", _GPUS, None),
    parameter("as_json", _JSON, False),
    parameter("suggest", _SUGGEST, False),
    *PARAMETERS,
    shown=(
        "license",
        "model",
        "device",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "replicas",
        "nodes",
        "max_model_len",
        "gpu_memory_utilization",
        "engine_args",
    ),
)
