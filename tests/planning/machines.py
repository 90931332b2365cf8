"""Hypothetical machines and models for tests of the planner, and their plans."""

from dataclasses import replace

import pytest

from maritalk_vllm.errors import DoesNotFit
from maritalk_vllm.hardware.gpu import Gpu, GpuProcess
from maritalk_vllm.hardware.gpu_catalog import hypothetical_machine
from maritalk_vllm.hardware.host import Host
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.models.architecture import ModelArchitecture
from maritalk_vllm.models.memory_footprint import MemoryFootprint
from maritalk_vllm.models.profile import find
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device, Settings

GB = 10**9


def host(memory_gb: float = 256, *, cores: int = 2, fast: bool = False, limit_gb: float | None = None) -> Host:
    memory = int(memory_gb * GB)
    limit = None if limit_gb is None else int(limit_gb * GB)
    return Host(
        cores=tuple(range(cores)),
        cpu_features=frozenset({"avx512_bf16"} if fast else {"avx2"}),
        memory_total_bytes=memory,
        memory_available_bytes=min(memory, limit or memory),
        memory_limit_bytes=limit,
        shared_memory_bytes=memory // 2,
    )


def cpu(memory_gb: float = 24, **more: object) -> Inventory:
    return Inventory((), host(memory_gb, **more))  # type: ignore[arg-type]


def with_free(inventory: Inventory, *free_gb: float, process: GpuProcess | None = None) -> Inventory:
    """Set the free memory, in GB, of the first GPUs."""
    gpus = list(inventory.gpus)
    for index, free in enumerate(free_gb):
        gpus[index] = replace(gpus[index], memory_free_bytes=int(free * GB), processes=(process,) if process else ())
    return replace(inventory, gpus=tuple(gpus))


def indices(gpus: tuple[Gpu, ...]) -> list[int]:
    return [gpu.index for gpu in gpus]


def profile_need(name: str, **given: object) -> ModelRequirements:
    """Requirements of a profile without local weights."""
    profile = find(name)
    assert profile is not None
    return ModelRequirements.from_settings(profile.name, profile.footprint, profile, Settings(**given))  # type: ignore[arg-type]


LLAMA_8B = ModelArchitecture(
    attention_heads=32,
    key_value_heads=8,
    head_size=128,
    layers=32,
    vocabulary_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    max_model_len=131072,
)

"""Llama 3.1 8B: 131072 bytes of KV cache per token."""

SHORT_8B = replace(LLAMA_8B, max_model_len=4096)
"""The same with the minimum context of a plan, so that the weights decide whether it fits."""


def open_need(weights_gb: float = 16.06, shape: ModelArchitecture = SHORT_8B, **given: object) -> ModelRequirements:
    """Requirements of an open model with local weights."""
    footprint = MemoryFootprint(shape=shape, split_bytes=int(weights_gb * GB), exact=True)
    return ModelRequirements.from_settings("open", footprint, None, Settings(**given))  # type: ignore[arg-type]


def unknown_need(**given: object) -> ModelRequirements:
    """Requirements of a model of unknown size."""
    return ModelRequirements.from_settings("org/unknown", None, None, Settings(**given))  # type: ignore[arg-type]


def gpu_plan(requirements: ModelRequirements, inventory: Inventory) -> Plan:
    """The plan on this machine, with the CUDA build of vLLM."""
    return make_plan(requirements, inventory, Device.AUTO, Device.CUDA)


def gpu_error(requirements: ModelRequirements, inventory: Inventory) -> DoesNotFit:
    """The error of a plan on this machine, which is too small."""
    with pytest.raises(DoesNotFit) as caught:
        gpu_plan(requirements, inventory)
    return caught.value


def parallel_sizes(result: Plan) -> tuple[int, int, int]:
    """Tensor, pipeline and data parallel size."""
    return result.tensor_parallel_size, result.pipeline_parallel_size, result.data_parallel_size


__all__ = [
    "GB",
    "LLAMA_8B",
    "SHORT_8B",
    "GpuProcess",
    "cpu",
    "gpu_error",
    "gpu_plan",
    "host",
    "hypothetical_machine",
    "indices",
    "open_need",
    "parallel_sizes",
    "profile_need",
    "unknown_need",
    "with_free",
]
