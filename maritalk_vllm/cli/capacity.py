"""The options of `maritalk-vllm plan --users`, and the capacity study that they configure."""

import contextlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DoesNotFit, MariTalkError, UsageError
from ..i18n.message import msg
from ..settings import OPTIONS, Device, Settings, flag
from . import path_options
from .settings_options import parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..hardware.inventory import Inventory
    from ..planning.model_requirements import ModelRequirements
    from ..planning.plan import Plan
    from ..planning.roofline import Efficiency
    from ..tools.capacity.workload import Workload

PROMPT_TOKENS, ANSWER_TOKENS, LATENCY = 550, 150, "10s"
"""Defaults: the token counts of the public MariTalk Local benchmark, and a latency that users accept."""


def _option(flag: str, metavar: str, help: str, kind: type = str) -> Any:  # noqa: ANN401
    callback = path_options.checked if kind is Path else None
    return typer.Option(flag, metavar=metavar, help=help, show_default=False, callback=callback)


USERS = parameter(
    "users",
    Annotated[
        int | None, _option("--users", "N", "Number of GPUs for N users who are all active in the busiest hour.")
    ],
    None,
)
"""The option that the others below need."""

_KINDS: dict[str, tuple[Any, str, str]] = {
    "prompt": (int, "N", "Tokens of a prompt; 550 by default."),
    "output": (int, "N", "Tokens of an answer; 150 by default."),
    "latency_p95": (str, "TIME", "Within which 95 of 100 whole answers are to come, such as 10s or 800ms: 10s."),
    "think": (str, "TIME", "Between an answer and its user's next question, on average: 60s."),
    "requests_per_hour": (float, "N", "Instead of --think: questions of each user in the busiest hour."),
    "peak_share": (float, "SHARE", "Of a day's requests, in its busiest hour: 0.12."),
    "spread": (float, "SHARE", "How much lengths vary, as standard deviation over average: 0, all alike."),
    "memory_efficiency": (float, "SHARE", "Of the bandwidth that a card's data sheet promises: 0.7."),
    "compute_efficiency": (float, "SHARE", "Of the operations that a card's data sheet promises: 0.5."),
    "measured": (Path, "FILE", "Fit a step's cost to what `maritalk-vllm bench --out FILE` measured on a replica."),
    "plot": (Path, "FILE", "Draw the day (PNG, SVG, PDF)."),
}

PARAMETERS: tuple[inspect.Parameter, ...] = (
    USERS,
    *(
        parameter(name, Annotated[kind | None, _option(flag(name), metavar, help, kind)], None)
        for name, (kind, metavar, help) in _KINDS.items()
    ),
)


def reject_without_users(options: dict[str, Any]) -> None:
    """Raises UsageError for an option that has no effect without --users."""
    for name in _KINDS:
        if options.get(name) is not None:
            raise UsageError(
                msg("{option} belongs to --users.", option=flag(name)), "Say how many there are: --users 500."
            )


def capacity(settings: Settings, gpus: str | None, as_json: bool, users: int, options: dict[str, Any]) -> None:
    """Print how many GPUs the users need. Raises MariTalkError, after printing it as JSON if `as_json`."""
    from ..tools.capacity.capacity_report import error_as_data

    try:
        _capacity(settings, gpus, as_json, users, options)
    except UsageError:
        raise
    except MariTalkError as error:
        if as_json:
            print(json.dumps(error_as_data(error), indent=2, ensure_ascii=False))
        raise


def _capacity(settings: Settings, gpus: str | None, as_json: bool, users: int, options: dict[str, Any]) -> None:
    from ..engine.vllm_version import installed_vllm
    from ..hardware.gpu_catalog import gpu_models, idle_machine, parse_single_kind
    from ..hardware.probe import probe_hardware
    from ..licensing.license_check import LicenseCheck
    from ..planning.planner import make_plan
    from ..server.startup.launch import model_requirements
    from ..server.startup.variant_choice import choose_variant
    from ..tools.capacity import benchmark_data
    from ..tools.capacity.capacity_report import as_data, report
    from ..tools.capacity.capacity_study import MAX_GPUS, StudyInputs, study
    from ..tools.capacity.plot import check, draw

    if settings.replicas != OPTIONS["replicas"].default:
        raise UsageError("How many replicas is what --users asks.", "Leave --replicas out.")
    if options["plot"] is not None:
        check(options["plot"])
    workload, efficiency = _workload(users, options), _efficiency(options)
    file: Path | None = options["measured"]
    loads = benchmark_data.read_loads(file) if file is not None else []
    requirements = model_requirements(settings, LicenseCheck(settings), ask_hub=True)
    if gpus is not None:
        gpu, limit = parse_single_kind(gpus)
        is_supported = gpu.compute_capability >= requirements.lowest_capability
        inventory = idle_machine([gpu] * (limit or (MAX_GPUS if is_supported else 1)))
        requested_device, installed_device = Device.CUDA, Device.CUDA
    else:
        inventory, requested_device = probe_hardware(gpus=settings.device is not Device.CPU), settings.device
        installed_device, limit = installed_vllm().device, None
    # The GPUs decide which checkpoint it is, of a model that has several.
    variant = choose_variant(settings, inventory, requested_device, installed_device)
    if variant.model is not None:
        settings = variant.applied(settings)
        requirements = model_requirements(settings, LicenseCheck(settings), variant.reason)
    plans = [make_plan(requirements, inventory, requested_device, installed_device, gpu_models)]
    if gpus is None and (planned := plans[0].gpus):
        limit = sum(gpu.name == planned[0].name for gpu in inventory.gpus)
    if not loads:
        base, needed = plans[0], workload.longest_request
        plans = [*_smaller_plans(requirements, inventory, base, needed), *plans]
        plans += _larger_plans(requirements, inventory, base)
    inputs = StudyInputs(requirements=requirements, workload=workload, efficiency=efficiency, loads=loads, limit=limit)
    result = study(inputs, plans)
    if options["plot"] is not None:
        draw(result, options["plot"])
    print(json.dumps(as_data(result), indent=2, ensure_ascii=False) if as_json else "\n".join(report(result)))


def _smaller_plans(
    requirements: "ModelRequirements", inventory: "Inventory", plan: "Plan", needed: int
) -> "Iterator[Plan]":
    """Plans with fewer GPUs for a replica, whose shorter context still has the `needed` tokens."""
    from ..planning.planner import make_plan

    given = (requirements.tensor_parallel_size, requirements.pipeline_parallel_size, requirements.requested_max_len)
    if any(given) or requirements.nodes > 1 or plan.device is Device.CPU:
        return
    tensor_parallel_size = 1
    while tensor_parallel_size < plan.parallelism.gpu_count:
        with contextlib.suppress(DoesNotFit):
            narrower = replace(requirements, tensor_parallel_size=tensor_parallel_size, pipeline_parallel_size=1)
            smaller = make_plan(narrower, inventory, Device.CUDA, Device.CUDA)
            if smaller.max_model_len is not None and smaller.max_model_len >= needed:
                yield smaller
        tensor_parallel_size *= 2


def _larger_plans(requirements: "ModelRequirements", inventory: "Inventory", plan: "Plan") -> "Iterator[Plan]":
    """Plans with twice the tensor parallel size each, for as long as there are enough GPUs."""
    from ..planning.planner import make_plan

    if requirements.tensor_parallel_size is not None or plan.pipeline_parallel_size > 1 or plan.device is Device.CPU:
        return
    tensor_parallel_size = 2 * plan.tensor_parallel_size
    while tensor_parallel_size <= len(inventory.gpus):
        with contextlib.suppress(DoesNotFit):
            wider = replace(requirements, tensor_parallel_size=tensor_parallel_size)
            yield make_plan(wider, inventory, Device.CUDA, Device.CUDA)
        tensor_parallel_size *= 2


def _workload(users: int, options: dict[str, Any]) -> "Workload":
    from ..tools.capacity.workload import PEAK_SHARE, THINK_SECONDS, Workload, seconds

    def value_of(name: str, default: Any) -> Any:  # noqa: ANN401
        return default if options[name] is None else options[name]

    hourly = options["requests_per_hour"]
    if hourly is not None and options["think"] is not None:
        raise UsageError("--think and --requests-per-hour say the same in two ways.", "Give one of them.")
    return Workload(
        users=users,
        prompt=value_of("prompt", PROMPT_TOKENS),
        answer=value_of("output", ANSWER_TOKENS),
        latency_p95=seconds("--latency-p95", value_of("latency_p95", LATENCY)),
        think=THINK_SECONDS if options["think"] is None else seconds("--think", options["think"]),
        hourly=hourly,
        peak_share=value_of("peak_share", PEAK_SHARE),
        spread=value_of("spread", 0.0),
    )


def _efficiency(options: dict[str, Any]) -> "Efficiency":
    from ..planning.roofline import Efficiency

    efficiency = Efficiency()
    for name in ("memory", "compute"):
        share = options[f"{name}_efficiency"]
        if share is not None:
            if not 0 < share <= 1:
                raise UsageError(
                    msg("--{option}-efficiency is {number}.", option=name, number=f"{share:g}"),
                    "Give a share over 0 and up to 1.",
                )
            efficiency = replace(efficiency, **{name: share})
    return efficiency
