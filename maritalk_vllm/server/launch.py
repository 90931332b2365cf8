"""All that the supervisor has to know to serve one model."""

from dataclasses import dataclass
from pathlib import Path

from ..engine.arguments import engine_arguments
from ..engine.version import installed_build
from ..hardware.inventory import look
from ..planning.plan import make_plan
from ..settings import Device, Settings, TimeUnit
from ..weights.source import locate, wanted_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A decided start: nothing is left to find out but whether the engine agrees."""

    name: str
    location: str
    must_be_prepared: bool
    device: Device
    engine_args: list[str]
    notes: tuple[str, ...]
    host: str
    port: int
    time_unit: TimeUnit
    log: Path


def decide(settings: Settings) -> Launch:
    """From what the user asked for and what the machine has, in a fraction of a second. Raises MariTalkError."""
    build = installed_build()
    profile = wanted_profile(settings)
    inventory = look(gpus=settings.device is not Device.CPU)
    plan = make_plan(profile, inventory, settings, build)
    source = locate(settings, profile)
    return Launch(
        name=source.name,
        location=source.location,
        must_be_prepared=source.must_be_prepared,
        device=plan.device,
        engine_args=engine_arguments(plan, source.name, source.location, settings.engine_args),
        notes=plan.notes,
        host=settings.host,
        port=settings.port,
        time_unit=settings.time_unit,
        log=settings.engine_log,
    )
