"""What holds for every machine and every model."""

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
    [card for card in gpu_models() if card.short_name in {"A10", "L4", "A100-40GB", "H100", "T4", "B200"}]
)
LINKS = st.sampled_from(Link)


@st.composite
def machines(draw: st.DrawFn) -> Inventory:
    """Up to eight cards, each as busy as it happens to be, linked anyhow."""
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
def needs(draw: st.DrawFn) -> ModelRequirements:
    if draw(st.booleans()):
        requirements = profile_need(draw(st.sampled_from(["small", "medium"])))
    else:
        shape = draw(shapes())
        size = draw(st.integers(10**8, 400 * GB))
        footprint = MemoryFootprint(
            shape=shape, split_bytes=size, key_value_bytes=size // 8, input_bytes=size // 16, exact=True
        )
        requirements = ModelRequirements.from_settings("open", footprint, None, Settings())
    wishes: dict[str, st.SearchStrategy[Any]] = {
        "requested_max_len": st.sampled_from([None, None, 512, 5000, 60000]),
        "tensor_parallel_size": st.sampled_from([None, None, 1, 2, 3, 4]),
        "pipeline_parallel_size": st.sampled_from([None, None, 1, 2]),
        "replicas": st.sampled_from([1, 1, 2, None]),
        "gpu_memory_utilization": st.sampled_from([None, None, 0.5, 0.92, 1.0]),
    }
    return replace(requirements, **{name: draw(values) for name, values in wishes.items()})


def plan(requirements: ModelRequirements, inventory: Inventory) -> Plan | None:
    with contextlib.suppress(MariTalkError):
        return make_plan(requirements, inventory, Device.CUDA, Device.CUDA)
    return None


@given(needs(), machines())
def test_a_plan_that_fits_asks_no_card_for_more_than_it_has_free(
    requirements: ModelRequirements, inventory: Inventory
) -> None:
    made = plan(requirements, inventory)
    if made is None:
        return
    assert made.gpu_memory_utilization is not None
    for gpu in made.gpus:
        assert made.memory.per_gpu_bytes <= gpu.memory_free_bytes
        assert made.gpu_memory_utilization * gpu.memory_total_bytes <= gpu.memory_free_bytes
    cards_taken = len(made.gpus)
    assert cards_taken == made.workers
    assert made.memory.per_gpu_bytes * cards_taken >= made.memory.weights_bytes + made.memory.kv_cache_bytes
    assert min(made.memory.weights_bytes, made.memory.kv_cache_bytes, made.memory.overhead_bytes) >= 0


@given(needs(), machines(), machines())
def test_more_cards_never_turn_fits_into_does_not_fit(
    requirements: ModelRequirements, inventory: Inventory, other: Inventory
) -> None:
    if plan(requirements, inventory) is None:
        return
    place = len(inventory.gpus)
    more = replace(other.gpus[0], index=place, uuid=f"GPU-{place}")
    links = {frozenset((more.uuid, gpu.uuid)): Link.SYSTEM for gpu in inventory.gpus}
    larger = replace(inventory, gpus=(*inventory.gpus, more), links={**inventory.links, **links})
    assert plan(requirements, larger) is not None


@given(needs(), machines())
def test_the_first_split_that_holds_the_whole_context_or_else_the_longest(
    requirements: ModelRequirements, inventory: Inventory
) -> None:
    """Against each split alone, as a user would ask for it."""
    made = plan(requirements, inventory)
    if made is None or requirements.footprint is None:
        return
    suitable, _ = partition_usable(inventory, requirements.lowest_capability)
    most = max(map(len, group_identical(suitable)))
    for degrees in candidates(requirements, requirements.footprint, most):
        alone = plan(
            replace(requirements, tensor_parallel_size=degrees.tensor, pipeline_parallel_size=degrees.pipeline),
            inventory,
        )
        if alone is not None:
            assert (made.max_model_len or 0) >= (alone.max_model_len or 0)
        if (made.tensor_parallel_size, made.pipeline_parallel_size) == (degrees.tensor, degrees.pipeline):
            assert alone is not None and alone.max_model_len == made.max_model_len
            break
        assert alone is None or alone.max_model_len != requirements.planned_max_len


@given(needs(), machines())
def test_what_the_user_set_stays(requirements: ModelRequirements, inventory: Inventory) -> None:
    made = plan(requirements, inventory)
    if made is None:
        return
    for requested_device, answer in (
        (requirements.tensor_parallel_size, made.tensor_parallel_size),
        (requirements.pipeline_parallel_size, made.pipeline_parallel_size),
        (requirements.replicas, made.data_parallel_size),
        (requirements.gpu_memory_utilization, made.gpu_memory_utilization),
        (requirements.requested_max_len, made.max_model_len),
    ):
        assert requested_device is None or requested_device == answer
    assert made.max_model_len is not None and made.max_model_len >= requirements.min_max_len


@given(needs(), machines())
def test_one_request_at_full_context_fits(requirements: ModelRequirements, inventory: Inventory) -> None:
    made = plan(requirements, inventory)
    if made is not None and made.max_concurrency is not None:
        assert made.max_concurrency >= 1
