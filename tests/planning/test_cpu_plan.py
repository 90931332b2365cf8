"""Plans for a machine without a GPU: RAM and cores."""

from dataclasses import replace

import pytest

from maritalk_vllm.errors import DoesNotFit
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.plan_report import description
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device
from tests.planning.machines import GB, LLAMA_8B, cpu, open_need, profile_need, unknown_need

TINY = replace(LLAMA_8B, layers=4, hidden_size=256, head_size=8, vocabulary_size=1024, max_model_len=4096)
GiB = 1 << 30


def plan(requirements: ModelRequirements, machine: Inventory) -> Plan:
    return make_plan(requirements, machine, Device.AUTO, Device.CPU)


@pytest.mark.parametrize(("fast", "dtype", "bytes_a_token"), [(False, "float32", 46080), (True, "bfloat16", 23040)])
def test_dtype_depends_on_the_processor(fast: bool, dtype: str, bytes_a_token: int) -> None:
    result = plan(profile_need("demo"), cpu(fast=fast))
    assert result.dtype == dtype
    assert result.kv_cache_tokens == pytest.approx(GiB / bytes_a_token, rel=0.01)
    assert result.memory.weights_bytes == (538_060_032 if dtype == "float32" else 269_030_016)


@pytest.mark.parametrize(("memory", "cache_gib"), [(6, 1), (24, 2.235), (400, 4)])
def test_cache_of_an_open_model_scales_with_memory(memory: int, cache_gib: float) -> None:
    assert plan(open_need(1, TINY), cpu(memory)).kv_cache_bytes == pytest.approx(cache_gib * GiB, rel=0.001)


def test_cache_is_limited_to_the_remaining_memory() -> None:
    result = plan(profile_need("demo"), cpu(2.7))
    assert result.kv_cache_bytes is not None and result.kv_cache_bytes < GiB
    assert any(each.startswith("KV cache: 0.") for each in result.adjustments)


def test_context_shrinks_to_what_the_cache_holds() -> None:
    result = plan(open_need(2, LLAMA_8B), cpu(64))
    assert result.max_model_len is not None and 4096 <= result.max_model_len < 131072
    assert any("max_model_len" in each for each in result.adjustments)
    assert plan(profile_need("demo"), cpu()).max_model_len == 8192


def test_requested_context_enlarges_the_cache() -> None:
    result = plan(open_need(2, LLAMA_8B, max_model_len=60000), cpu(64))
    assert result.max_model_len == 60000
    assert result.max_concurrency == pytest.approx(1, abs=0.01)
    assert description(result).endswith(", for 1 user at 60000 tokens")


def test_too_little_memory_is_an_error() -> None:
    with pytest.raises(DoesNotFit) as error:
        plan(open_need(16), cpu(24))
    assert "of memory on a CPU in float32 (32.0 GB of it for weights)" in error.value.message
    assert "24.0 GB of 24.0 GB are available" in error.value.message
    plan(open_need(16), cpu(40))


def test_a_model_that_is_large_for_the_cpu_gets_a_warning() -> None:
    slow = plan(open_need(16.06), cpu(64, fast=True))
    assert slow.is_slow
    (warning,) = slow.warnings
    assert warning.endswith(
        "a single user gets at most about 1.2 tokens/s, by an estimate from 16.1 GB of weights and 20 GB/s of memory "
        "bandwidth."
    )
    # Twice the bytes in float32, and a worker of each half of the cores.
    assert plan(open_need(16.06), cpu(64)).tokens_per_second == pytest.approx((slow.tokens_per_second or 0) / 2)
    split = plan(open_need(16.06, tensor_parallel_size=2), cpu(64, cores=8, fast=True))
    assert split.tokens_per_second == pytest.approx(80 / 16.06, rel=1e-3)
    for fast in (plan(profile_need("demo"), cpu()), plan(open_need(16.06), cpu(64, cores=16, fast=True))):
        assert not fast.is_slow
        assert not fast.warnings


def test_container_limit_is_respected() -> None:
    plan(open_need(4), cpu(24))
    with pytest.raises(DoesNotFit) as error:
        plan(open_need(4), cpu(24, limit_gb=8))
    assert "8.0 GB of the container's 8.0 GB are available" in error.value.message


def test_workers_share_cores_weights_and_cache() -> None:
    one = plan(open_need(4, TINY), cpu(24, cores=4))
    two = plan(open_need(4, TINY, tensor_parallel_size=2), cpu(24, cores=4))
    assert one.cores == ((0, 1, 2, 3),)
    assert two.cores == ((0, 1), (2, 3))
    assert two.kv_cache_bytes == pytest.approx((one.kv_cache_bytes or 0) / 2, abs=1)
    assert two.memory.weights_bytes == pytest.approx(one.memory.weights_bytes, abs=2)
    assert two.kv_cache_tokens == pytest.approx(one.kv_cache_tokens, rel=0.01)


@pytest.mark.parametrize(("megabytes", "cores"), [(6, 1), (15.9, 1), (16, 4), (300, 4)])
def test_a_tiny_model_computes_on_one_core(megabytes: float, cores: int) -> None:
    result = plan(open_need(megabytes / 1000, TINY), cpu(24, cores=4, fast=True))
    assert result.cores == (tuple(range(cores)),)
    assert ("the CPU, 1 core," in description(result)) is (cores == 1)


def test_workers_of_a_tiny_model_share_all_cores() -> None:
    assert plan(open_need(0.006, TINY, tensor_parallel_size=2), cpu(24, cores=4)).cores == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tensor_parallel_size": 2}, "2 does not divide its 9 attention heads"),
        ({"tensor_parallel_size": 9}, "9 workers need a processor core each, and there are 4"),
        ({"replicas": "5"}, "5 workers"),
    ],
)
def test_impossible_numbers_of_workers(given: dict[str, object], message: str) -> None:
    with pytest.raises(DoesNotFit) as error:
        plan(profile_need("demo", **given), cpu(cores=4))
    assert message in error.value.message


def test_replicas_auto_is_one_on_a_cpu() -> None:
    assert plan(profile_need("demo", replicas="auto"), cpu(cores=4)).data_parallel_size == 1


def test_model_of_unknown_size() -> None:
    result = plan(unknown_need(), cpu())
    assert (result.kv_cache_bytes, result.max_model_len, result.max_concurrency) == (None, None, None)
    assert result.memory.weights_bytes < GB
