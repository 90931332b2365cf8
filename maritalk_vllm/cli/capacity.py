"""The options of `maritalk-vllm plan --users`, and what is done with them."""

import contextlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DoesNotFit, MariTalkError, UsageError
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
"""What the public MariTalk Local benchmark sends, and a time that people wait."""


def _option(flag: str, metavar: str, help: str, kind: type = str) -> Any:  # noqa: ANN401
    callback = path_options.checked if kind is Path else None
    return typer.Option(flag, metavar=metavar, help=help, show_default=False, callback=callback)


USERS = parameter(
    "users",
    Annotated[int | None, _option("--users", "N", "How many cards these users need, all there in the busiest hour.")],
    None,
)
"""The option with which the others below count."""

_KINDS: dict[str, tuple[Any, str, str]] = {
    "prompt": (int, "N", "Tokens of a prompt: 550 if not said."),
    "output": (int, "N", "Tokens of an answer: 150 if not said."),
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


def refuse_without_users(wishes: dict[str, Any]) -> None:
    """Raises UsageError for an option that says nothing without --users."""
    for name in _KINDS:
        if wishes.get(name) is not None:
            raise UsageError(f"{flag(name)} belongs to --users.", "Say how many there are: --users 500.")


def capacity(settings: Settings, gpus: str | None, as_json: bool, users: int, wishes: dict[str, Any]) -> None:
    """How many cards so many users need. Raises MariTalkError, which is printed as JSON too if that was asked for."""
    from ..tools.capacity.capacity_report import as_refusal

    try:
        _capacity(settings, gpus, as_json, users, wishes)
    except UsageError:
        raise
    except MariTalkError as error:
        if as_json:
            print(json.dumps(as_refusal(error), indent=2, ensure_ascii=False))
        raise


def _capacity(settings: Settings, gpus: str | None, as_json: bool, users: int, wishes: dict[str, Any]) -> None:
    from ..engine.vllm_version import installed_vllm
    from ..hardware.gpu_catalog import idle_machine, parse_single_kind
    from ..hardware.probe import probe_hardware
    from ..licensing.license_check import LicenseCheck
    from ..server.startup.launch import make_plan_or_suggest, model_requirements
    from ..tools.capacity import benchmark_data
    from ..tools.capacity.capacity_report import as_data, report
    from ..tools.capacity.capacity_study import MOST_CARDS, Question, study
    from ..tools.capacity.plot import check, draw

    if settings.replicas != OPTIONS["replicas"].default:
        raise UsageError("How many replicas is what --users asks.", "Leave --replicas out.")
    if wishes["plot"] is not None:
        check(wishes["plot"])
    workload, efficiency = _workload(users, wishes), _efficiency(wishes)
    file: Path | None = wishes["measured"]
    loads = benchmark_data.read(file) if file is not None else []
    need = model_requirements(settings, LicenseCheck(settings), ask_hub=True)
    if gpus is not None:
        card, limit = parse_single_kind(gpus)
        able = card.compute_capability >= need.lowest_capability
        inventory = idle_machine([card] * (limit or (MOST_CARDS if able else 1)))
        wish, build = Device.CUDA, Device.CUDA
    else:
        inventory, wish = probe_hardware(gpus=settings.device is not Device.CPU), settings.device
        build, limit = installed_vllm().device, None
    plans = [make_plan_or_suggest(need, inventory, wish, build)]
    if gpus is None and (cards := plans[0].gpus):
        limit = sum(gpu.name == cards[0].name for gpu in inventory.gpus)
    plans += _spread_further(need, inventory, plans[0]) if not loads else []
    question = Question(need=need, workload=workload, efficiency=efficiency, loads=loads, limit=limit)
    found = study(question, plans)
    if wishes["plot"] is not None:
        draw(found, wishes["plot"])
    print(json.dumps(as_data(found), indent=2, ensure_ascii=False) if as_json else "\n".join(report(found)))


def _spread_further(need: "ModelRequirements", inventory: "Inventory", plan: "Plan") -> "Iterator[Plan]":
    """The same over twice as many cards, again and again, by tensor parallelism: for as long as there are cards."""
    from ..planning.planner import make_plan

    if need.tensor_parallel_size is not None or plan.pipeline_parallel_size > 1 or plan.device is Device.CPU:
        return
    degree = 2 * plan.tensor_parallel_size
    while degree <= len(inventory.gpus):
        with contextlib.suppress(DoesNotFit):
            wider = replace(need, tensor_parallel_size=degree)
            yield make_plan(wider, inventory, Device.CUDA, Device.CUDA)
        degree *= 2


def _workload(users: int, wishes: dict[str, Any]) -> "Workload":
    from ..tools.capacity.workload import PEAK_SHARE, THINK_SECONDS, Workload, seconds

    def given(name: str, otherwise: Any) -> Any:  # noqa: ANN401
        return otherwise if wishes[name] is None else wishes[name]

    hourly = wishes["requests_per_hour"]
    if hourly is not None and wishes["think"] is not None:
        raise UsageError("--think and --requests-per-hour say the same in two ways.", "Give one of them.")
    return Workload(
        users=users,
        prompt=given("prompt", PROMPT_TOKENS),
        answer=given("output", ANSWER_TOKENS),
        latency_p95=seconds("--latency-p95", given("latency_p95", LATENCY)),
        think=THINK_SECONDS if wishes["think"] is None else seconds("--think", wishes["think"]),
        hourly=hourly,
        peak_share=given("peak_share", PEAK_SHARE),
        spread=given("spread", 0.0),
    )


def _efficiency(wishes: dict[str, Any]) -> "Efficiency":
    from ..planning.roofline import Efficiency

    found = Efficiency()
    for name in ("memory", "compute"):
        share = wishes[f"{name}_efficiency"]
        if share is not None:
            if not 0 < share <= 1:
                raise UsageError(f"--{name}-efficiency is {share:g}.", "Give a share over 0 and up to 1.")
            found = replace(found, **{name: share})
    return found
