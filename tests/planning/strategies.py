"""Random machines and models for property tests of plans."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from maritalk_vllm.hardware.gpu_catalog import gpu_models, idle_machine
from maritalk_vllm.hardware.interconnect import Link
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.models.architecture import ModelArchitecture
from maritalk_vllm.models.memory_footprint import MemoryFootprint
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.settings import Settings
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
