"""All that the supervisor has to know to serve one model."""

from dataclasses import dataclass
from pathlib import Path

from ..engine.arguments import engine_arguments
from ..engine.version import installed_vllm
from ..errors import DoesNotFit, NoSuitableGPU
from ..hardware.catalogue import cards
from ..hardware.inventory import Inventory
from ..hardware.look import look
from ..planning.make import make_plan
from ..planning.market import what_would_do
from ..planning.need import Need
from ..planning.plan import Plan
from ..settings import Device, Settings, TimeUnit
from ..weights.known import known_footprint
from ..weights.source import locate, wanted_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A decided start: nothing is left to find out but whether the engine agrees."""

    name: str
    location: str
    must_be_prepared: bool
    plan: Plan
    engine_args: list[str]
    host: str
    port: int
    time_unit: TimeUnit
    log: Path


def decide(settings: Settings) -> Launch:
    """From what the user asked for and what the machine has, in a fraction of a second. Raises MariTalkError."""
    build = installed_vllm().device
    need = wanted(settings)
    plan = planned(need, look(gpus=settings.device is not Device.CPU), settings.device, build)
    source = locate(settings, need.profile)
    parser = need.profile.tool_call_parser if need.profile else None
    return Launch(
        name=source.name,
        location=source.location,
        must_be_prepared=source.must_be_prepared,
        plan=plan,
        engine_args=engine_arguments(plan, source.name, source.location, settings.engine_args, parser),
        host=settings.host,
        port=settings.port,
        time_unit=settings.time_unit,
        log=settings.engine_log,
    )


def wanted(settings: Settings) -> Need:
    """What the user asks for, with all that is known of it. Raises UsageError, LicenseError or WeightsError."""
    profile = wanted_profile(settings)
    return Need.of(*known_footprint(settings, profile), profile, settings)


def planned(need: Need, inventory: Inventory, wish: Device, build: Device) -> Plan:
    """A plan. Raises NoSuitableGPU, DoesNotFit or EngineError; the first two say which cards would do."""
    try:
        return make_plan(need, inventory, wish, build)
    except (DoesNotFit, NoSuitableGPU) as error:
        if not error.hint or isinstance(error, NoSuitableGPU):
            error.hint = f"{what_would_do(need, cards())} {error.hint}".strip()
        raise
