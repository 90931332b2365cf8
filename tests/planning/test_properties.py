"""Properties of plans for every machine and every model."""

import contextlib
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from maritalk_vllm.errors import MariTalkError
from maritalk_vllm.hardware.gpu_catalog import gpu_models, idle_machine
from maritalk_vllm.hardware.interconnect import Link
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.models.architecture import ModelArchitecture
from maritalk_vllm.models.memory_footprint import MemoryFootprint
from maritalk_vllm.planning.gpu_selection import group_identical, partition_usable
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.placement import candidates
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device, Settings
from tests.planning.machines import GB, profile_need

KINDS = st.sampled_from(
    [
        gpu_model
        for gpu_model in gpu_models()
        if gpu_model.short_name in {"A10", "L4", "A100-40GB", "H100", "T4", "B200"}
    ]
)
LINKS = st.sampled_from(Link)


@st.composite
def machines(draw: st.DrawFn) -> Inventory:
    """Up to eight GPUs with random free memory and links."""
    inventory = idle_machine(draw(st.lists(KINDS, min_size=1, max_size=8)))
    free = [draw(st.integers(0, 100)) for _ in inventory.gpus]
    gpus = tuple(
        replace(gpu, memory_free_bytes=gpu.memory_free_bytes * share // 100)
        for gpu, share in zip(inventory.gpus, free, strict=True)
    )
    return replace(inventory, gpus=gpus, links={pair: draw(LINKS) for pair in inventory.links})


@st.composite
def shapes(draw: st.DrawFn) -> ModelArchitecture:
    key_value_heads = draw(st.sampled_from([1, 2, 3, 4, 8, 12, 32]))
    layers = draw(st.integers(1, 80))
    return ModelArchitecture(
        attention_heads=key_value_heads * draw(st.sampled_from([1, 3, 4, 8])),
        key_value_heads=key_value_heads,
        head_size=draw(st.sampled_from([64, 96, 128])),
        layers=layers,
        vocabulary_size=draw(st.integers(1000, 260000)),
        hidden_size=draw(st.sampled_from([1024, 4096, 8192])),
        intermediate_size=draw(st.sampled_from([2048, 14336, 28672])),
        max_model_len=draw(st.sampled_from([None, 1000, 8192, 131072])),
        sliding_window=1024,
        sliding_layers=draw(st.integers(0, layers)),
        latent_size=draw(st.sampled_from([None, None, 576])),
    )


@st.composite
def model_requirements(draw: st.DrawFn) -> ModelRequirements:
    if draw(st.booleans()):
        requirements = profile_need(draw(st.sampled_from(["small", "medium"])))
    else:
        shape = draw(shapes())
        size = draw(st.integers(10**8, 400 * GB))
        footprint = MemoryFootprint(
            shape=shape, split_bytes=size, key_value_bytes=size // 8, input_bytes=size // 16, exact=True
        )
        requirements = ModelRequirements.from_settings("open", footprint, None, Settings())
    options: dict[str, st.SearchStrategy[Any]] = {
        "requested_max_len": st.sampled_from([None, None, 512, 5000, 60000]),
        "tensor_parallel_size": st.sampled_from([None, None, 1, 2, 3, 4]),
        "pipeline_parallel_size": st.sampled_from([None, None, 1, 2]),
        "replicas": st.sampled_from([1, 1, 2, None]),
        "gpu_memory_utilization": st.sampled_from([None, None, 0.5, 0.92, 1.0]),
    }
    return replace(requirements, **{name: draw(values) for name, values in options.items()})


def plan(requirements: ModelRequirements, inventory: Inventory) -> Plan | None:
    with contextlib.suppress(MariTalkError):
        return make_plan(requirements, inventory, Device.CUDA, Device.CUDA)
    return None


@given(model_requirements(), machines())
def test_plan_never_exceeds_free_gpu_memory(requirements: ModelRequirements, inventory: Inventory) -> None:
    result = plan(requirements, inventory)
    if result is None:
        return
    assert result.gpu_memory_utilization is not None
    for gpu in result.gpus:
        assert result.memory.per_gpu_bytes <= gpu.memory_free_bytes
        assert result.gpu_memory_utilization * gpu.memory_total_bytes <= gpu.memory_free_bytes
    gpu_count = len(result.gpus)
    assert gpu_count == result.workers
    assert result.memory.per_gpu_bytes * gpu_count >= result.memory.weights_bytes + result.memory.kv_cache_bytes
    assert min(result.memory.weights_bytes, result.memory.kv_cache_bytes, result.memory.overhead_bytes) >= 0


@given(model_requirements(), machines(), machines())
def test_an_additional_gpu_never_makes_a_model_not_fit(
    requirements: ModelRequirements, inventory: Inventory, other: Inventory
) -> None:
    if plan(requirements, inventory) is None:
        return
    place = len(inventory.gpus)
    more = replace(other.gpus[0], index=place, uuid=f"GPU-{place}")
    links = {frozenset((more.uuid, gpu.uuid)): Link.SYSTEM for gpu in inventory.gpus}
    larger = replace(inventory, gpus=(*inventory.gpus, more), links={**inventory.links, **links})
    assert plan(requirements, larger) is not None


@given(model_requirements(), machines())
def test_chosen_split_is_the_first_with_full_context_or_the_longest(
    requirements: ModelRequirements, inventory: Inventory
) -> None:
    """Compare with a plan for each split, requested by its options."""
    result = plan(requirements, inventory)
    if result is None or requirements.footprint is None:
        return
    suitable, _ = partition_usable(inventory, requirements.lowest_capability)
    max_gpus = max(map(len, group_identical(suitable)))
    for parallelism in candidates(requirements, requirements.footprint, max_gpus):
        alone = plan(
            replace(requirements, tensor_parallel_size=parallelism.tensor, pipeline_parallel_size=parallelism.pipeline),
            inventory,
        )
        if alone is not None:
            assert (result.max_model_len or 0) >= (alone.max_model_len or 0)
        if (result.tensor_parallel_size, result.pipeline_parallel_size) == (parallelism.tensor, parallelism.pipeline):
            assert alone is not None and alone.max_model_len == result.max_model_len
            break
        assert alone is None or alone.max_model_len != requirements.planned_max_len


@given(model_requirements(), machines())
def test_user_options_are_kept(requirements: ModelRequirements, inventory: Inventory) -> None:
    result = plan(requirements, inventory)
    if result is None:
        return
    for requested, planned in (
        (requirements.tensor_parallel_size, result.tensor_parallel_size),
        (requirements.pipeline_parallel_size, result.pipeline_parallel_size),
        (requirements.replicas, result.data_parallel_size),
        (requirements.gpu_memory_utilization, result.gpu_memory_utilization),
        (requirements.requested_max_len, result.max_model_len),
    ):
        assert requested is None or requested == planned
    assert result.max_model_len is not None and result.max_model_len >= requirements.min_max_len


@given(model_requirements(), machines())
def test_one_request_at_full_context_fits(requirements: ModelRequirements, inventory: Inventory) -> None:
    result = plan(requirements, inventory)
    if result is not None and result.max_concurrency is not None:
        assert result.max_concurrency >= 1
