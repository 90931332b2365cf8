"""What the engine is told."""

import pytest

from maritalk_vllm.engine.arguments import engine_arguments
from maritalk_vllm.errors import UsageError
from maritalk_vllm.hardware.host import Host
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.models.profile import find
from maritalk_vllm.planning.plan import GiB, make_plan
from maritalk_vllm.settings import Device, Settings

PLAIN = Inventory((), Host(cores=2, memory_total_bytes=24 * GiB, fast_bfloat16=False))
MODERN = Inventory((), Host(cores=2, memory_total_bytes=24 * GiB, fast_bfloat16=True))


@pytest.mark.parametrize(("machine", "dtype"), [(PLAIN, "float32"), (MODERN, "bfloat16")])
def test_dtype_on_a_cpu_follows_the_processor(machine: Inventory, dtype: str) -> None:
    assert make_plan(find("demo"), machine, Settings(), Device.CPU).dtype == dtype


@pytest.mark.parametrize(("memory", "cache"), [(4, 1), (24, 2.4), (400, 4)])
def test_kv_cache_of_an_open_model_on_a_cpu_follows_the_memory(memory: int, cache: float) -> None:
    machine = Inventory((), Host(cores=2, memory_total_bytes=memory * GiB, fast_bfloat16=True))
    plan = make_plan(None, machine, Settings(), Device.CPU)
    assert plan.kv_cache_bytes == pytest.approx(cache * GiB, abs=1)


def test_the_users_own_limit_wins() -> None:
    assert make_plan(find("demo"), PLAIN, Settings(), Device.CPU).max_model_len == 8192
    assert make_plan(find("demo"), PLAIN, Settings(max_model_len=100), Device.CPU).max_model_len == 100


def test_arguments() -> None:
    plan = make_plan(find("demo"), PLAIN, Settings(), Device.CPU)
    arguments = engine_arguments(plan, "demo", "/models/demo", ["--seed", "3"])
    assert arguments[:4] == ["--model", "/models/demo", "--served-model-name", "demo"]
    assert "--enforce-eager" in arguments
    assert arguments[-2:] == ["--seed", "3"]


@pytest.mark.parametrize("flag", ["--port", "--host=0", "--model", "--uds=/x", "--disable-log-stats"])
def test_flags_that_are_ours_are_refused(flag: str) -> None:
    plan = make_plan(find("demo"), PLAIN, Settings(), Device.CPU)
    with pytest.raises(UsageError):
        engine_arguments(plan, "demo", "/models/demo", [flag])
