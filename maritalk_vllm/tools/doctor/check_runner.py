"""Runs all checks, also after one has failed."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from ...engine.torch_build import installed_torch
from ...engine.vllm_version import installed_vllm
from ...errors import MariTalkError
from ...hardware.cuda_host import cuda_host
from ...hardware.cuda_init import cuda_init_error
from ...hardware.probe import probe_hardware
from ...licensing.entitlement import EVALUATION_KEY
from ...licensing.license_check import LicenseCheck
from ...server.startup.launch import model_requirements
from ...server.startup.variant_choice import VariantChoice, choose_variant
from ...settings import Device, Settings
from ...weights.model_source import wanted_profile
from . import hardware_checks, startup_checks
from .check import Check, Status

T = TypeVar("T")


def examine(settings: Settings) -> list[Check]:
    """Run all checks, in the order in which a start would reach them.

    Without a licence and a model, with which a start fails, the other checks are of the demo model.
    """
    checks: list[Check] = []

    def tried(name: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except MariTalkError as error:
            problem = Check.problem(name, error)
            if all(problem.message != each.message for each in checks):
                checks.append(problem)
            return None

    def run(name: str, check: Callable[[], Iterable[Check]]) -> None:
        checks.extend(tried(name, lambda: list(check())) or ())

    vllm = tried("vllm", installed_vllm)
    if vllm is not None:
        run("vllm", lambda: startup_checks.check_vllm(vllm))
    inventory = tried("driver", probe_hardware)
    if inventory is not None:
        run("driver", lambda: hardware_checks.check_driver(inventory, vllm.device if vllm else None, settings.device))
        run("gpus", lambda: hardware_checks.check_gpus(inventory))
        uses_cuda = vllm is not None and vllm.device is Device.CUDA and settings.device is not Device.CPU
        if uses_cuda and inventory.driver is not None:
            run("cuda", lambda: hardware_checks.check_cuda_host(inventory, cuda_host(), installed_torch()))
            if inventory.gpus:
                run("cuda", lambda: hardware_checks.check_cuda_init(cuda_init_error()))
        run("host", lambda: hardware_checks.check_host(inventory))
        if vllm is not None:
            run("processor", lambda: hardware_checks.check_processor(inventory, vllm.device))
    if settings.license is None and settings.model is None:
        tried("model", lambda: wanted_profile(settings, LicenseCheck(settings)))
        checks.append(Check.warning("model", "The checks below are of the demo model."))
        settings = replace(settings, license=EVALUATION_KEY)
    license = LicenseCheck(settings)
    variant = VariantChoice()
    if inventory is not None and vllm is not None:
        here, build = inventory, vllm.device
        variant = tried("model", lambda: choose_variant(settings, here, settings.device, build)) or variant
    chosen = variant.applied(settings)
    requirements = tried(
        "model",
        lambda: model_requirements(chosen, license, variant.reason, ask_hub=True, require_downloadable=True),
    )
    if requirements is not None:
        run("licence", lambda: startup_checks.check_license(chosen, requirements.profile, license))
        run("weights", lambda: startup_checks.check_weights(chosen, requirements, license))
        run("files", lambda: startup_checks.check_place(chosen, requirements, license))
        run("disk", lambda: startup_checks.check_disk(chosen, requirements, license))
        if inventory is not None and vllm is not None:
            run("plan", lambda: startup_checks.check_plan(chosen, requirements, inventory, vllm))
    run("nodes", lambda: startup_checks.check_group(settings))
    run("access", lambda: startup_checks.check_access(settings))
    run("limits", startup_checks.check_limits)
    run("port", lambda: startup_checks.check_port(settings))
    return checks


def exit_code(checks: Iterable[Check]) -> int:
    """Exit code of the first problem; 0 if there is none."""
    return next((check.exit_code for check in checks if check.status is Status.PROBLEM), 0)
