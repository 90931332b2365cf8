"""A measured KV cache in a plan, and what it depends on."""

from dataclasses import replace
from datetime import date

import pytest

from maritalk_vllm.hardware.gpu import Driver
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.planning.kv_measurement import KvMeasurement, measurement_key, with_measurement
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device
from tests.planning.machines import LLAMA_8B, cpu, gpu_plan, hypothetical_machine, open_need, profile_need

DAY = date(2026, 11, 30)
MACHINE = replace(hypothetical_machine("2xA10"), driver=Driver("580.65.06", (13, 0)))
SOFTWARE = ("0.1.0", "0.33.0")


def measured(tokens: int, max_model_len: int = 4096) -> KvMeasurement:
    return KvMeasurement(tokens=tokens, max_model_len=max_model_len, day=DAY)


def test_the_measured_size_replaces_the_estimate() -> None:
    """131072 bytes a token. What the estimate had too little, the overhead had too much."""
    need = open_need(16)
    plan = gpu_plan(need, MACHINE)
    assert plan.kv_cache_tokens is not None
    found = with_measurement(plan, need, measured(30000))
    assert found.kv_cache_tokens == 30000
    assert found.memory.kv_cache_bytes == pytest.approx(30000 * 131072, rel=1e-3)
    assert found.memory.per_gpu_bytes == plan.memory.per_gpu_bytes
    assert found.memory.weights_bytes == plan.memory.weights_bytes
    assert (found.max_model_len, found.max_concurrency) == (4096, 30000 / 4096)
    assert found.measured == "KV cache: 30,000 tokens, measured on this host on 2026-11-30."
    assert found.adjustments == plan.adjustments == ()


def test_each_replica_has_what_was_measured_of_one() -> None:
    need = open_need(16, replicas="2")
    found = with_measurement(gpu_plan(need, MACHINE), need, measured(30000))
    assert found.kv_cache_tokens == 60000
    assert found.measured.startswith("KV cache: 60,000 tokens")


@pytest.mark.parametrize(
    ("tokens", "served", "context"),
    [
        (9000, 8976, 8976),  # vLLM rejected the plan's length, and the start continued with this one
        (1_000_000, 8976, None),  # since then vLLM had room for the plan's own
        (9000, 9216, None),  # a record that contradicts itself
    ],
)
def test_a_context_that_vllm_had_no_room_for_is_not_planned_again(
    tokens: int, served: int, context: int | None
) -> None:
    need = open_need(16, LLAMA_8B)
    plan = gpu_plan(need, MACHINE)
    assert plan.max_model_len is not None and plan.max_model_len > 9216
    found = with_measurement(plan, need, measured(tokens, served))
    assert found.max_model_len == (context or plan.max_model_len)
    shortened = [each for each in found.adjustments if each not in plan.adjustments]
    assert len(shortened) == (context is not None)
    assert (found == plan) == (tokens < served)


def test_a_context_of_the_user_stays() -> None:
    need = open_need(16, LLAMA_8B, max_model_len=16000)
    plan = gpu_plan(need, MACHINE)
    assert with_measurement(plan, need, measured(9000, 8976)) == plan


def test_a_length_that_vllm_decides_stays() -> None:
    need = open_need(16)
    plan = replace(gpu_plan(need, MACHINE), length_known=False)
    assert with_measurement(plan, need, measured(2000, 1000)).max_model_len == plan.max_model_len


def key(plan: Plan | None = None, machine: Inventory = MACHINE, **given: object) -> str | None:
    need = open_need(16, **given)  # type: ignore[arg-type]
    flags = given.get("engine_args", ())
    assert isinstance(flags, tuple)
    return measurement_key(plan or gpu_plan(need, machine), need, machine, flags, SOFTWARE)


def test_the_same_start_has_the_same_key() -> None:
    assert key() == key() != key(max_model_len=4096)


PLAN = gpu_plan(open_need(16), MACHINE)


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, gpu_memory_utilization=0.5),
        replace(PLAN, tensor_parallel_size=2),
        replace(PLAN, pipeline_parallel_size=2),
        replace(PLAN, data_parallel_size=2),
        replace(PLAN, gpus=hypothetical_machine("A6000").gpus),
    ],
)
def test_another_plan_has_another_key(plan: Plan) -> None:
    assert key(plan) != key()


@pytest.mark.parametrize(
    "machine",
    [
        replace(MACHINE, driver=Driver("580.65.07", (13, 0))),
        replace(MACHINE, gpus=MACHINE.gpus[:1]),
        replace(MACHINE, gpus=tuple(replace(gpu, uuid=f"{gpu.uuid}-b") for gpu in MACHINE.gpus)),
    ],
)
def test_another_host_has_another_key(machine: Inventory) -> None:
    assert key(machine=machine) != key()


@pytest.mark.parametrize(
    "flags",
    [
        ("--max-num-seqs", "8"),
        ("--max-num-batched-tokens", "512"),
        ("--dtype", "float32"),
        ("--kv-cache-dtype", "fp8"),
        ("--quantization", "fp8"),
        ("--enforce-eager",),
    ],
)
def test_another_flag_has_another_key(flags: tuple[str, ...]) -> None:
    assert key(PLAN, engine_args=flags) != key(PLAN)


def test_another_version_or_model_has_another_key() -> None:
    need = open_need(16)
    keys = {
        measurement_key(PLAN, need, MACHINE, (), SOFTWARE),
        measurement_key(PLAN, need, MACHINE, (), ("0.1.0", "0.32.0")),
        measurement_key(PLAN, open_need(15), MACHINE, (), SOFTWARE),
    }
    assert len(keys) == 3


def test_nothing_is_measured_of_a_cpu_a_group_or_other_hosts_gpus() -> None:
    demo = profile_need("demo")
    on_cpu = make_plan(demo, cpu(), Device.CPU, Device.CPU)
    assert measurement_key(on_cpu, demo, replace(cpu(), driver=MACHINE.driver), (), SOFTWARE) is None
    assert key(replace(PLAN, nodes=2)) is None
    assert key(replace(PLAN, kv_cache_tokens=None)) is None
    assert key(machine=replace(MACHINE, driver=None)) is None
