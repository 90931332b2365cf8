"""Resolves the settings and the hardware into what the supervisor needs to serve one model."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from ...engine.attention_backend import attention_backend
from ...engine.environment import compile_cache
from ...engine.vllm_arguments import Rendezvous, engine_arguments, observability_flags
from ...engine.vllm_version import installed_vllm
from ...hardware import resource_limits
from ...hardware.cuda_host import cuda_host
from ...hardware.gpu_catalog import gpu_models
from ...hardware.inventory import Inventory
from ...hardware.probe import probe_hardware
from ...i18n.message import msg
from ...licensing.license_check import LicenseCheck
from ...models import demo_model
from ...models.catalogue import RECOMMENDED
from ...models.model_fingerprint import ModelFingerprint
from ...planning.api_process_count import api_process_count
from ...planning.model_requirements import ModelRequirements
from ...planning.plan import Plan
from ...planning.plan_report import summary
from ...planning.planner import make_plan
from ...settings import Device, DistributedBackend, Settings
from ...weights.footprint_lookup import known_footprint
from ...weights.model_source import Source, entitlement, locate, wanted_profile
from ..cluster.cluster_config import ClusterConfig
from ..cluster.ray_node import check_ray
from ..middleware.access_config import AccessConfig
from .cuda_checks import check_cuda
from .flag_files import flag_files
from .kv_record import KvRecord, measured_plan
from .preflight import check_chat, check_context, check_files, check_folders
from .variant_choice import VariantChoice, choose_variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A resolved start: the settings, some of which can change while the server runs, and what was decided.

    If the weights are not installed, `source.fetch` downloads them, and `resolve_again` then resolves the start from
    them. `resolve_successor` resolves a start with other settings for the hardware as it was before this one's engine;
    `avoid` names GPUs, by their UUIDs, that it is not to use. `vllm` is the installed version; `group` is None for a
    single node. `license_expires` is in seconds since 1970, None if it never expires or no licence is needed.
    `files` is the fingerprint of the model and of what flags name when the start was resolved, None before a download.
    `kv_record` is for the KV cache that vLLM measures. `notes` are for the user. `data_dir` is the folder of files and
    batches that the supervisor has reserved.
    """

    settings: Settings = field(repr=False)
    access: AccessConfig
    group: ClusterConfig | None
    vllm: str
    source: Source
    files: ModelFingerprint | None
    plan: Plan
    kv_record: KvRecord
    engine_args: list[str]
    api_processes: int = 1
    license_expires: float | None
    notes: tuple[str, ...]
    data_dir: Path | None = None
    resolve_again: Callable[[Settings, AccessConfig], "Launch"]
    resolve_successor: "ResolveSuccessor"


class ResolveSuccessor(Protocol):
    """`Launch.resolve_successor`."""

    def __call__(self, settings: Settings, access: AccessConfig, *, avoid: Collection[str] = ()) -> Launch:
        """Raise MariTalkError if there is none."""


def decide(
    settings: Settings,
    access: AccessConfig | None = None,
    check: LicenseCheck | None = None,
    inventory: Inventory | None = None,
    variant: VariantChoice | None = None,
    avoid: Collection[str] = (),
) -> Launch:
    """Resolve the settings for this machine's hardware, in a fraction of a second. Raises MariTalkError.

    `access` and `check` are those of an earlier call, so that their files and the licence are not read again, and so is
    `inventory`, if the hardware is not to be probed: the memory of an engine that still runs would not be free. So is
    `variant`, the checkpoint that has been downloaded since. GPUs whose UUIDs are in `avoid` are not used.
    """
    check = check or LicenseCheck(settings)
    vllm = installed_vllm()
    resource_limits.check()
    check_chat(settings)
    group = ClusterConfig.from_settings(settings)
    access = access or AccessConfig.from_settings(settings)
    inventory = inventory or probe_hardware(gpus=settings.device is not Device.CPU)
    usable = replace(inventory, gpus=tuple(gpu for gpu in inventory.gpus if gpu.uuid not in avoid))
    variant = variant or choose_variant(settings, usable, settings.device, vllm.device)
    asked, settings = settings, variant.applied(settings)
    requirements = model_requirements(
        settings, check, variant.reason, ask_hub=settings.dry_run, require_downloadable=True
    )
    plan = make_plan(requirements, usable, settings.device, vllm.device, gpu_models)
    plan, kv_record = measured_plan(plan, requirements, inventory, settings, vllm.version)
    backend = None
    if plan.device is Device.CUDA:
        gpu_host = cuda_host()
        check_cuda(inventory.driver, gpu_host)
        backend = attention_backend(plan.gpus, gpu_host, requirements.footprint, settings.engine_args)
    if group is not None and group.backend is DistributedBackend.RAY:
        check_ray(group, plan.device)
    source = locate(settings, requirements.profile, check)
    check_files(settings, source)
    check_folders(settings, source)

    known = requirements.profile or source.entry
    extra_args = (*observability_flags(settings), *settings.engine_args)
    rendezvous = None if group is None else Rendezvous(group.rank, group.head, group.port, group.backend)
    entitled = entitlement(settings, requirements.profile, check)
    expires = entitled.expires if entitled else None
    license_warning = entitled.warning if entitled else ""
    warnings = (license_warning, access.warning(settings.host), *access.warnings, *resource_limits.warnings())
    return Launch(
        settings=asked,
        access=access,
        group=group,
        vllm=vllm.version,
        source=source,
        files=None if source.fetch else ModelFingerprint.of([*source.places, *flag_files(settings.engine_args)]),
        plan=plan,
        kv_record=kv_record,
        engine_args=engine_arguments(
            plan,
            source.name,
            source.location,
            extra_args,
            known.tool_call_parser if known is not None else None,
            source.entry.chat_template_arguments if source.entry is not None else {},
            group=rendezvous,
            attention_backend=backend,
        ),
        api_processes=api_process_count(
            settings.api_processes, plan, len(os.sched_getaffinity(0)), environment=os.environ
        ),
        license_expires=expires.timestamp() if expires else None,
        notes=(
            *_demo_notes(source, settings),
            *summary(plan),
            *_compile_cache_note(plan, settings),
            *(msg("Warning: {warning}", warning=each) for each in warnings if each),
        ),
        resolve_again=partial(decide, check=check, variant=variant),
        resolve_successor=partial(decide, inventory=inventory),
    )


def _demo_notes(source: Source, settings: Settings) -> list[str]:
    """What the demo model is and, if the licence alone has chosen it, another model to try."""
    if not source.is_demo:
        return []
    if settings.model is not None:
        return [demo_model.NOTICE]
    offer = msg(
        "A model that speaks Portuguese: maritalk-serve --model {name} (others: maritalk-vllm models)", name=RECOMMENDED
    )
    return [demo_model.NOTICE, offer]


def _compile_cache_note(plan: Plan, settings: Settings) -> list[str]:
    if plan.device is Device.CPU or "--enforce-eager" in settings.engine_args:
        return []
    return [
        msg(
            "vLLM compiles the model at its first start, and keeps that in {compile_cache}.",
            compile_cache=compile_cache(settings.cache_dir),
        )
    ]


def model_requirements(
    settings: Settings,
    check: LicenseCheck,
    choice: str = "",
    *,
    ask_hub: bool = False,
    require_downloadable: bool = False,
) -> ModelRequirements:
    """Return the requirements of the requested model. `ask_hub`: query Hugging Face if the model is not installed.

    `choice` says why this checkpoint of several was chosen (variant_choice.py).
    Raises UsageError, LicenseError or WeightsError; with `require_downloadable` also WeightsError if the weights could
    not be downloaded.
    """
    profile = wanted_profile(settings, check)
    known = known_footprint(settings, profile, ask_hub=ask_hub)
    if require_downloadable and known.error is not None:
        raise known.error
    requirements = ModelRequirements.from_settings(
        known.name, known.footprint, profile, settings, known.doubt, known.variant
    )
    check_context(settings, requirements)
    return replace(requirements, choice=choice)
