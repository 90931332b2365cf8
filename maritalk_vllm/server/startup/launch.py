"""Resolves the settings and the hardware into what the supervisor needs to serve one model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ...engine.environment import compile_cache
from ...engine.vllm_arguments import Rendezvous, engine_arguments, observability_flags
from ...engine.vllm_version import installed_vllm
from ...errors import DoesNotFit, NoSuitableGPU
from ...hardware import resource_limits
from ...hardware.gpu_catalog import gpu_models
from ...hardware.inventory import Inventory
from ...hardware.probe import probe_hardware
from ...licensing.license_check import LicenseCheck
from ...planning.gpu_suggestions import suggest_gpus
from ...planning.model_requirements import ModelRequirements
from ...planning.plan import Plan
from ...planning.plan_report import summary
from ...planning.planner import make_plan
from ...settings import Device, DistributedBackend, Settings
from ...weights.fetch_request import FetchRequest
from ...weights.footprint_lookup import known_footprint
from ...weights.model_source import locate, wanted_profile
from ..cluster.cluster_config import ClusterConfig
from ..cluster.ray_node import check_ray
from ..middleware.access_config import AccessConfig
from .preflight import check_chat, check_context, check_files, check_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A resolved start.

    If the weights are not installed, `fetch` is their download, and `resolve_again` then resolves the start from them.
    `needs_preparation`: the fork server has to create the model's files first. `is_made_here`: this program creates the
    model's folder from an embedded file, and may remove it. `notes` are for the user; `license_expires` is in seconds
    since 1970, None if it never expires or no licence is needed. `vllm` is the installed version; `group` is None for a
    single node. Some `settings` can change while the server runs.
    """

    settings: Settings = field(repr=False)

    name: str
    location: str
    fetch: FetchRequest | None
    resolve_again: Callable[[Settings, AccessConfig], "Launch"]
    needs_preparation: bool
    is_made_here: bool
    notes: tuple[str, ...]
    license_expires: float | None
    plan: Plan
    vllm: str
    group: ClusterConfig | None
    engine_args: list[str]
    access: AccessConfig


def decide(settings: Settings) -> Launch:
    """Resolve the settings for this machine's hardware, in a fraction of a second. Raises MariTalkError."""
    return _decide(LicenseCheck(settings), settings)


def _decide(check: LicenseCheck, settings: Settings, access: AccessConfig | None = None) -> Launch:
    """`access`: the configuration from an earlier call, whose files are not read again."""
    vllm = installed_vllm()
    resource_limits.check()
    check_chat(settings)
    group = ClusterConfig.from_settings(settings)
    access = access or AccessConfig.from_settings(settings)
    need = model_requirements(settings, check, ask_hub=settings.dry_run, require_downloadable=True)
    plan = make_plan_or_suggest(
        need, probe_hardware(gpus=settings.device is not Device.CPU), settings.device, vllm.device
    )
    if group is not None and group.backend is DistributedBackend.RAY:
        check_ray(group, plan.device)
    source = locate(settings, need.profile, check)
    check_files(settings, source)
    check_folders(settings, source)

    parser = need.profile.tool_call_parser if need.profile else None
    extra_args = (*observability_flags(settings), *settings.engine_args)
    rendezvous = None if group is None else Rendezvous(group.rank, group.head, group.port, group.backend)
    expires = check.entitlement.expires if need.profile else None
    license_warning = check.entitlement.warning if need.profile else ""
    warnings = (license_warning, access.warning(settings.host), *access.warnings, *resource_limits.warnings())
    return Launch(
        settings=settings,
        name=source.name,
        location=source.location,
        fetch=source.fetch,
        resolve_again=partial(_decide, check),
        needs_preparation=source.must_be_prepared,
        is_made_here=source.is_made_here,
        notes=(
            *summary(plan),
            *_compile_cache_note(plan, settings),
            *(f"Warning: {each}" for each in warnings if each),
        ),
        license_expires=expires.timestamp() if expires else None,
        plan=plan,
        vllm=vllm.version,
        group=group,
        engine_args=engine_arguments(plan, source.name, source.location, extra_args, parser, group=rendezvous),
        access=access,
    )


def _compile_cache_note(plan: Plan, settings: Settings) -> list[str]:
    if plan.device is Device.CPU or "--enforce-eager" in settings.engine_args:
        return []
    return [f"vLLM compiles the model at its first start, and keeps that in {compile_cache(settings.cache_dir)}."]


def model_requirements(
    settings: Settings, check: LicenseCheck, *, ask_hub: bool = False, require_downloadable: bool = False
) -> ModelRequirements:
    """Return the requirements of the requested model. `ask_hub`: query Hugging Face if the model is not installed.

    Raises UsageError, LicenseError or WeightsError; with `require_downloadable` also WeightsError if the weights could
    not be downloaded.
    """
    profile = wanted_profile(settings, check)
    known = known_footprint(settings, profile, ask_hub=ask_hub)
    if require_downloadable and known.error is not None:
        raise known.error
    need = ModelRequirements.from_settings(known.name, known.footprint, profile, settings, known.doubt)
    check_context(settings, need)
    return need


def make_plan_or_suggest(
    need: ModelRequirements, inventory: Inventory, requested_device: Device, installed_device: Device
) -> Plan:
    """Return a plan. Raises NoSuitableGPU, DoesNotFit or EngineError; the hints of the first two suggest GPUs."""
    try:
        return make_plan(need, inventory, requested_device, installed_device)
    except (DoesNotFit, NoSuitableGPU) as error:
        if not error.hint or isinstance(error, NoSuitableGPU):
            error.hint = f"{suggest_gpus(need, gpu_models())} {error.hint}".strip()
        raise
