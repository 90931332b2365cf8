"""How a model will be served. Pure: it looks at nothing but its arguments."""

from dataclasses import dataclass

from ..hardware.inventory import Inventory
from ..models.profile import Profile
from ..settings import Device, Settings
from .device import choose_device

GiB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the engine will be told. Sizes in bytes; None leaves the value to vLLM. `notes` are for the user."""

    device: Device
    dtype: str
    max_model_len: int | None
    kv_cache_bytes: int | None
    gpu_memory_utilization: float | None
    notes: tuple[str, ...]


def make_plan(profile: Profile | None, inventory: Inventory, settings: Settings, build: Device) -> Plan:
    """A plan for this model on this machine; `build` is vLLM's own. Raises NoSuitableGPU or EngineError."""
    device, why = choose_device(settings.device, profile, inventory.gpus, build)
    on_cpu = device is Device.CPU
    return Plan(
        device=device,
        dtype=_cpu_dtype(inventory) if on_cpu else "auto",
        max_model_len=settings.max_model_len or (profile.max_model_len if profile else None),
        kv_cache_bytes=_cpu_kv_cache_bytes(profile, inventory) if on_cpu else None,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        notes=(why,) if why else (),
    )


def _cpu_dtype(inventory: Inventory) -> str:
    # Without AVX512_BF16 or AMX, oneDNN falls back: 46 tokens/s at 16 users in bfloat16 against 112 to 172 in float32.
    return "bfloat16" if inventory.host.fast_bfloat16 else "float32"


def _cpu_kv_cache_bytes(profile: Profile | None, inventory: Inventory) -> int:
    if profile and profile.cpu_kv_cache_bytes:
        return profile.cpu_kv_cache_bytes
    return max(GiB, min(4 * GiB, inventory.host.memory_total_bytes // 10))
