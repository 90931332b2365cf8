"""Whether a second engine has room beside the one that runs."""

from dataclasses import replace

import pytest

from maritalk_vllm.planning.plan import Memory, Plan
from maritalk_vllm.server.process import engine_room
from maritalk_vllm.server.process.engine_room import RESERVE_BYTES, has_room
from maritalk_vllm.settings import Device
from tests.planning.machines import GB, gpu_plan, hypothetical_machine, open_need

MACHINE = hypothetical_machine("2xA10")
ON_GPUS = gpu_plan(open_need(16), MACHINE)
ON_CPU = Plan(
    model="m",
    title="M",
    device=Device.CPU,
    dtype="bfloat16",
    memory=Memory(weights_bytes=4 * GB, kv_cache_bytes=2 * GB, overhead_bytes=GB),
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What is free: bytes of the host's memory, and GPUs."""
    free: dict[str, object] = {"host": 64 * GB, "gpus": MACHINE.gpus}
    monkeypatch.setattr(engine_room, "available_bytes", lambda: free["host"])
    monkeypatch.setattr(engine_room, "usable_gpus", lambda: free["gpus"])
    return free


def test_on_a_cpu_both_engines_and_a_reserve_have_to_fit(machine: dict[str, object]) -> None:
    """Weights, cache and overhead of the new one, and the cache of the old one, of which requests fill more."""
    needed = 7 * GB + 2 * GB + RESERVE_BYTES
    machine["host"] = needed
    assert has_room(ON_CPU, running=ON_CPU)
    machine["host"] = needed - 1
    assert not has_room(ON_CPU, running=ON_CPU)
    assert has_room(ON_CPU, running=ON_GPUS)


def test_a_model_whose_memory_is_unknown_has_no_room_on_a_cpu(machine: dict[str, object]) -> None:
    assert not has_room(replace(ON_CPU, memory=Memory()), running=ON_CPU)
    assert not has_room(replace(ON_CPU, checked=False), running=ON_CPU)


def test_on_gpus_vllm_has_to_find_its_share_of_each(machine: dict[str, object]) -> None:
    assert ON_GPUS.gpu_memory_utilization is not None
    assert has_room(ON_GPUS, running=ON_GPUS)
    total = MACHINE.gpus[0].memory_total_bytes
    for share, expected in ((1.01, True), (0.99, False)):
        free = int(share * ON_GPUS.gpu_memory_utilization * total)
        machine["gpus"] = tuple(replace(gpu, memory_free_bytes=free) for gpu in MACHINE.gpus)
        assert has_room(ON_GPUS, running=ON_GPUS) == expected
    machine["gpus"] = MACHINE.gpus
    machine["host"] = GB
    assert not has_room(ON_GPUS, running=ON_GPUS)


def test_what_is_unknown_is_no_room_on_gpus(machine: dict[str, object]) -> None:
    """The share without a plan, the GPUs without the driver, and the memory that a GPU shares with the host."""
    assert not has_room(replace(ON_GPUS, gpu_memory_utilization=None), running=ON_GPUS)
    integrated = tuple(replace(gpu, is_integrated=True) for gpu in ON_GPUS.gpus)
    assert not has_room(replace(ON_GPUS, gpus=integrated), running=ON_GPUS)
    machine["gpus"] = None
    assert not has_room(ON_GPUS, running=ON_GPUS)
