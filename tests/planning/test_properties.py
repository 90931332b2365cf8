"""Properties of plans for every machine and every model."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given

from maritalk_vllm.errors import DoesNotFit, MariTalkError
from maritalk_vllm.hardware.interconnect import Link
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.planning.candidate import Candidate, assess
from maritalk_vllm.planning.gpu_selection import group_identical, has_nvlink, partition_usable
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.placement import NoPlacement, find_placement, splits
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device
from maritalk_vllm.text_format import gigabytes
from tests.planning.strategies import machines, model_requirements


def plan(requirements: ModelRequirements, inventory: Inventory) -> Plan | None:
    with contextlib.suppress(MariTalkError):
        return make_plan(requirements, inventory, Device.CUDA, Device.CUDA)
    return None


def candidates(requirements: ModelRequirements, inventory: Inventory) -> Iterator[Candidate]:
    """Every split on every GPU."""
    assert requirements.footprint is not None
    for group in group_identical(inventory.gpus):
        nvlink = has_nvlink(group, inventory.links)
        for parallelism in splits(requirements, requirements.footprint, len(group)):
            for gpu in group:
                yield assess(requirements, requirements.footprint, parallelism, gpu, nvlink=nvlink)


@given(model_requirements(), machines())
def test_a_candidate_that_fits_stays_within_free_memory(requirements: ModelRequirements, inventory: Inventory) -> None:
    for each in candidates(requirements, inventory):
        if each.fits:
            assert each.weights_bytes + each.overhead_bytes + each.kv_cache_bytes <= each.usable_bytes
            assert each.kv_cache_bytes >= each.min_kv_cache_bytes


@given(model_requirements(), machines())
def test_a_candidate_that_does_not_fit_would_with_its_shortfall(
    requirements: ModelRequirements, inventory: Inventory
) -> None:
    for each in candidates(requirements, inventory):
        if not each.fits and each.budget_bytes <= each.usable_bytes:
            needed = each.weights_bytes + each.overhead_bytes + each.min_kv_cache_bytes
            assert each.budget_bytes + each.shortfall_bytes == needed


@given(model_requirements(), machines())
def test_more_gpus_never_hold_a_larger_share_of_the_weights_each(
    requirements: ModelRequirements, inventory: Inventory
) -> None:
    """With a larger tensor or pipeline parallel size, while the other is not smaller."""
    weights = {each.parallelism: each.weights_bytes for each in candidates(requirements, inventory)}
    for fewer, larger_share in weights.items():
        for more, share in weights.items():
            if more.tensor >= fewer.tensor and more.pipeline >= fewer.pipeline:
                assert share <= larger_share


@given(model_requirements(), machines())
def test_an_error_has_the_shortfall_of_the_nearest_candidate(
    requirements: ModelRequirements, inventory: Inventory
) -> None:
    suitable, _ = partition_usable(inventory, requirements.lowest_capability)
    if requirements.footprint is None or not suitable:
        return
    found = find_placement(requirements, requirements.footprint, suitable, inventory.links)
    if not isinstance(found, NoPlacement):
        return
    with pytest.raises(DoesNotFit) as error:
        make_plan(requirements, inventory, Device.CUDA, Device.CUDA)
    if "The nearest: " in error.value.message:
        nearest = found.nearest
        assert nearest is not None and not nearest.fits
        assert error.value.short.startswith(f"{nearest.title}: ")
        if nearest.budget_bytes <= nearest.usable_bytes:
            assert f"{gigabytes(max(nearest.shortfall_bytes, 10**8))} short" in error.value.short


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
    for parallelism in splits(requirements, requirements.footprint, max_gpus):
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
