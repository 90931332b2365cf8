"""All that the supervisor has to know to serve one model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ...engine.environment import compile_cache
from ...engine.vllm_arguments import Rendezvous, engine_arguments, observability
from ...engine.vllm_version import installed_vllm
from ...errors import DoesNotFit, NoSuitableGPU
from ...hardware import resource_limits
from ...hardware.gpu_catalog import cards
from ...hardware.inventory import Inventory
from ...hardware.probe import probe_hardware
from ...licensing.license_check import LicenseCheck
from ...planning.gpu_suggestions import suggest_gpus
from ...planning.model_requirements import ModelRequirements
from ...planning.plan import Plan
from ...planning.plan_report import summary
from ...planning.planner import make_plan
from ...settings import Device, DistributedBackend, Settings
from ...weights.download_progress import Progress
from ...weights.footprint_lookup import known_footprint
from ...weights.model_source import locate, wanted_profile
from ..cluster.cluster_config import ClusterConfig
from ..cluster.ray_node import check_ray
from ..middleware.access_config import AccessConfig
from .preflight import check_context, check_files, check_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A decided start: nothing is left to find out but whether the engine agrees.

    Where the weights are not here, `fetch` brings them, and then `again` decides by what has come. `notes` are for the
    user; `license_expires` is in seconds since 1970, None where it never does or none is needed. `vllm` is its version;
    `group` is None for a machine alone. What is in `settings` can change while it runs.
    """

    settings: Settings = field(repr=False)

    name: str
    location: str
    fetch: Callable[[Progress], None] | None
    again: Callable[[Settings, AccessConfig], "Launch"]
    must_be_prepared: bool
    is_made_here: bool
    notes: tuple[str, ...]
    license_expires: float | None
    plan: Plan
    vllm: str
    group: ClusterConfig | None
    engine_args: list[str]
    access: AccessConfig


def decide(settings: Settings) -> Launch:
    """From what the user asked for and what the machine has, in a fraction of a second. Raises MariTalkError."""
    return _decide(LicenseCheck(settings), settings)


def _decide(check: LicenseCheck, settings: Settings, access: AccessConfig | None = None) -> Launch:
    """`access`: what was read for it before, which is not read again."""
    vllm = installed_vllm()
    resource_limits.check()
    group = ClusterConfig.of(settings)
    access = access or AccessConfig.from_settings(settings)
    need = model_requirements(settings, check, ask_hub=settings.dry_run, must_come=True)
    plan = make_plan_or_suggest(
        need, probe_hardware(gpus=settings.device is not Device.CPU), settings.device, vllm.device
    )
    if group is not None and group.backend is DistributedBackend.RAY:
        check_ray(group, plan.device)
    source = locate(settings, need.profile, check)
    check_files(settings, source)
    check_folders(settings, source)

    parser = need.profile.tool_call_parser if need.profile else None
    more = (*observability(settings), *settings.engine_args)
    rendezvous = None if group is None else Rendezvous(group.rank, group.head, group.port, group.backend)
    expires = check.entitlement.expires if need.profile else None
    licensed = check.entitlement.warning if need.profile else ""
    warnings = (licensed, access.warning(settings.host), *access.warnings, *resource_limits.warnings())
    return Launch(
        settings=settings,
        name=source.name,
        location=source.location,
        fetch=source.fetch,
        again=partial(_decide, check),
        must_be_prepared=source.must_be_prepared,
        is_made_here=source.is_made_here,
        notes=(*summary(plan), *_on_cache(plan, settings), *(f"Warning: {each}" for each in warnings if each)),
        license_expires=expires.timestamp() if expires else None,
        plan=plan,
        vllm=vllm.version,
        group=group,
        engine_args=engine_arguments(plan, source.name, source.location, more, parser, group=rendezvous),
        access=access,
    )


def _on_cache(plan: Plan, settings: Settings) -> list[str]:
    if plan.device is Device.CPU or "--enforce-eager" in settings.engine_args:
        return []
    return [f"vLLM compiles the model at its first start, and keeps that in {compile_cache(settings.cache_dir)}."]


def model_requirements(
    settings: Settings, check: LicenseCheck, *, ask_hub: bool = False, must_come: bool = False
) -> ModelRequirements:
    """What the user asks for, with all that is known of it; of what is not here, the hub is asked if `ask_hub` says so.

    Raises UsageError, LicenseError or WeightsError; with `must_come` also where the weights could not be downloaded.
    """
    profile = wanted_profile(settings, check)
    known = known_footprint(settings, profile, ask_hub=ask_hub)
    if must_come and known.error is not None:
        raise known.error
    need = ModelRequirements.of(known.name, known.footprint, profile, settings, known.doubt)
    check_context(settings, need)
    return need


def make_plan_or_suggest(need: ModelRequirements, inventory: Inventory, wish: Device, build: Device) -> Plan:
    """A plan. Raises NoSuitableGPU, DoesNotFit or EngineError; the first two say which cards would do."""
    try:
        return make_plan(need, inventory, wish, build)
    except (DoesNotFit, NoSuitableGPU) as error:
        if not error.hint or isinstance(error, NoSuitableGPU):
            error.hint = f"{suggest_gpus(need, cards())} {error.hint}".strip()
        raise
