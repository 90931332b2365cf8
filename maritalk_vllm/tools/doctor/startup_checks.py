"""Checks of a start: vLLM, licence, weights, plan, disk, port."""

from collections.abc import Iterator
from pathlib import Path

from ...engine.vllm_version import Vllm
from ...errors import WeightsError
from ...hardware import resource_limits
from ...hardware.gpu_catalog import gpu_models
from ...hardware.host import free_disk_bytes
from ...hardware.inventory import Inventory
from ...hardware.network import route_to
from ...http.listener import listen
from ...i18n.message import capitalized, msg, with_full_stop
from ...licensing.license_check import LicenseCheck
from ...models.profile import Profile
from ...planning.model_requirements import ModelRequirements
from ...planning.plan_report import description
from ...planning.planner import make_plan
from ...server.cluster.cluster_config import ClusterConfig, check_head_is_local
from ...server.middleware.access_config import AccessConfig
from ...server.startup.kv_record import measured_plan
from ...server.startup.preflight import check_chat, check_control_port, check_files, check_folders
from ...settings import Device, Settings
from ...text_format import gigabytes
from ...weights.model_source import locate, needs_license
from .check import Check

_LOG_BYTES = 10**9


def check_vllm(vllm: Vllm) -> Iterator[Check]:
    """Report vLLM's version; `installed_vllm` has already raised for an unsupported one."""
    kind = "CPU" if vllm.device is Device.CPU else "CUDA"
    yield Check.ok(
        "vllm",
        msg(
            "{name} {version}, the {kind} build, within {window}.",
            name=vllm.name,
            version=vllm.version,
            kind=kind,
            window=vllm.window,
        ),
    )


def check_license(settings: Settings, profile: Profile | None, license: LicenseCheck) -> Iterator[Check]:
    """Check the licence. Raises LicenseError."""
    if profile is None or not needs_license(settings, profile):
        yield Check.ok("licence", msg("{model} is an open model and needs none.", model=settings.model))
    elif settings.license is None:
        yield Check.warning(
            "licence", msg("None is given; {title} needs one.", title=profile.title), "--license or MARITALK_LICENSE."
        )
    else:
        yield Check.ok("licence", with_full_stop(license.entitlement.text))
        if license.entitlement.warning:
            yield Check.warning("licence", license.entitlement.warning)


def check_weights(settings: Settings, requirements: ModelRequirements, license: LicenseCheck) -> Iterator[Check]:
    """Check where the weights are, and each file against its header. Raises LicenseError or WeightsError."""
    source = locate(settings, requirements.profile, license)
    if source.fetch is not None:
        yield Check.warning(
            "weights",
            msg("{title} is not on this machine: the first start will download it.", title=requirements.title),
        )
    elif source.must_be_prepared:
        yield Check.ok(
            "weights",
            msg(
                "{title} will be prepared in {location} at the first start.",
                title=requirements.title,
                location=source.location,
            ),
        )
    elif requirements.footprint is not None:
        size = gigabytes(requirements.footprint.weights_bytes)
        yield Check.ok(
            "weights", msg("{size} in {location}, every file whole by its header.", size=size, location=source.location)
        )


def check_plan(
    settings: Settings, requirements: ModelRequirements, inventory: Inventory, vllm: Vllm
) -> Iterator[Check]:
    """Check that the model fits. Raises NoSuitableGPU, DoesNotFit or EngineError."""
    plan = make_plan(requirements, inventory, settings.device, vllm.device, gpu_models)
    plan, _ = measured_plan(plan, requirements, inventory, settings, vllm.version)
    text = description(plan)
    if plan.checked:
        yield Check.ok("plan", with_full_stop(text))
    else:
        yield Check.warning("plan", msg("not checked: {where}.", where=text))
    if plan.split:
        yield Check.ok("split", plan.split)
    if plan.measured:
        yield Check.ok("plan", plan.measured)
    for line in (*plan.adjustments, *plan.warnings):
        yield Check.warning("plan", line)


def check_place(settings: Settings, requirements: ModelRequirements, license: LicenseCheck) -> Iterator[Check]:
    """Check the chat's package, the tokenizer, files named by flags, and folders.

    Raises UsageError, WeightsError or LicenseError.
    """
    check_chat(settings)
    source = locate(settings, requirements.profile, license)
    check_folders(settings, source)
    check_files(settings, source)
    yield Check.ok("files", "All files exist, and all folders are writable.")


def check_disk(settings: Settings, requirements: ModelRequirements, license: LicenseCheck) -> Iterator[Check]:
    """Check the disk space for a download, a prepared model, and logs. Raises WeightsError or LicenseError."""
    folder: Path = settings.cache_dir
    free = free_disk_bytes(folder)
    needed = _LOG_BYTES
    source = locate(settings, requirements.profile, license)
    if source.must_be_prepared and requirements.profile and requirements.profile.embedded:
        needed += requirements.profile.embedded.checkpoint_bytes
    elif source.fetch is not None and requirements.profile:
        # The archive, and its unpacked content.
        needed += 2 * requirements.profile.weights_bytes
    if free < needed:
        raise WeightsError(
            msg(
                "{folder} has {free} free, and {needed} are needed for the model and logs.",
                folder=folder,
                free=gigabytes(free),
                needed=gigabytes(needed),
            ),
            "Free some space, or choose another folder with --cache-dir.",
        )
    yield Check.ok("disk", msg("{size} free in {folder}.", size=gigabytes(free), folder=folder))


def check_group(settings: Settings) -> Iterator[Check]:
    """With several nodes, check that this one is node 0 or can reach it. Raises UsageError or PortError."""
    if (group := ClusterConfig.from_settings(settings)) is None:
        return
    if group.is_leader:
        if not check_head_is_local(group):
            yield Check.warning("nodes", msg("The name {address}, of this node, is not known yet.", address=group.head))
            return
        check_control_port(group)
        yield Check.ok("nodes", msg("Node 0 of {number}, at {address}.", number=group.nodes, address=group.head))
        return
    try:
        own = route_to(group.head).address
    except OSError as error:
        yield Check.warning(
            "nodes",
            msg("There is no way to node 0 at {address} yet: {reason}.", address=group.head, reason=error.strerror),
        )
    else:
        yield Check.ok(
            "nodes",
            msg(
                "Node {rank} of {nodes}: from {own} to node 0 at {address}.",
                rank=group.rank,
                nodes=group.nodes,
                own=own,
                address=group.head,
            ),
        )


def check_access(settings: Settings) -> Iterator[Check]:
    """Check API keys and certificate, and warn of open access. Raises UsageError."""
    if warning := AccessConfig.from_settings(settings).warning(settings.host):
        yield Check.warning("access", capitalized(warning))
    else:
        yield Check.ok("access", "Other machines on the network cannot use the model without a key.")


def check_limits() -> Iterator[Check]:
    """Check the limits on open files and memory. Raises UsageError if they are too low to serve."""
    resource_limits.check()
    for warning in resource_limits.warnings():
        yield Check.warning("limits", capitalized(warning))


def check_port(settings: Settings) -> Iterator[Check]:
    """Check that the server could listen. Raises PortError."""
    listen(settings.host, settings.port).close()
    yield Check.ok("port", msg("{host}, port {port} is free.", host=settings.host, port=settings.port))
