"""Every row of the MariTalk Local document's table, and its rules for several GPUs."""

import pytest

from maritalk_vllm.errors import DoesNotFit, NoSuitableGPU
from maritalk_vllm.hardware.gpu_catalog import find_gpu, gpu_models
from maritalk_vllm.planning.gpu_suggestions import suggest_gpus, suggestions
from maritalk_vllm.planning.plan import Plan
from maritalk_vllm.planning.planner import make_plan
from maritalk_vllm.settings import Device
from tests.planning.machines import hypothetical_machine, profile_need


def plan(model: str, gpus: str) -> Plan:
    return make_plan(profile_need(model), hypothetical_machine(gpus), Device.AUTO, Device.CUDA)


@pytest.mark.parametrize(
    ("model", "gpus", "tensor", "pipeline"),
    [
        # The column of tested GPUs.
        ("small", "1xA100-40GB", 1, 1),
        ("small", "1xA100-80GB", 1, 1),
        ("small", "1xA10", 1, 1),
        ("small", "1xA6000", 1, 1),
        ("small", "1xL4", 1, 1),
        ("medium", "2xA100-40GB", 2, 1),
        ("medium", "2xA6000", 2, 1),
        # "Por exemplo": one A100 of 80 GB, two of 40 GB, four A10 of 24 GB.
        ("medium", "1xA100-80GB", 1, 1),
        ("medium", "4xA10", 4, 1),
        ("large", "4xA10", 4, 1),
        # More GPUs than needed change nothing; a number that is no power of two is a pipeline.
        ("medium", "8xA10", 4, 1),
        ("small", "8xA10", 1, 1),
        ("small", "2xRTX-3060", 1, 2),
        ("medium", "3xA10", 1, 3),
        ("medium", "3xL4,1xT4", 1, 3),
        ("medium", "1xA100-80GB,4xA10", 1, 1),
        ("medium", "8xRTX-3060", 8, 1),
    ],
)
def test_fits(model: str, gpus: str, tensor: int, pipeline: int) -> None:
    result = plan(model, gpus)
    assert (result.tensor_parallel_size, result.pipeline_parallel_size) == (tensor, pipeline)
    assert len(result.gpus) == tensor * pipeline
    assert result.max_model_len == 8000


@pytest.mark.parametrize(
    ("model", "gpus", "error", "message"),
    [
        ("small", "1xT4", NoSuitableGPU, "Tesla T4 (7.5)"),
        ("small", "8xV100-32GB", NoSuitableGPU, "compute capability 8.0"),
        ("small", "1xRTX-3060", DoesNotFit, "24.0 GB of GPU memory on cards of one kind; 1 x NVIDIA GeForce RTX 3060"),
        ("small", "1xA4000", DoesNotFit, "17.2 GB"),
        ("medium", "2xA10", DoesNotFit, "2 x NVIDIA A10 have 48.3 GB"),
        ("medium", "1xA6000", DoesNotFit, "70.0 GB"),
        ("medium", "2xA10,2xL4", DoesNotFit, "cards of one kind"),
        ("medium", "4xT4", NoSuitableGPU, "70 GB"),
    ],
)
def test_does_not_fit(model: str, gpus: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        plan(model, gpus)
    assert message in str(raised.value)


@pytest.mark.parametrize("model", ["small", "medium"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("gpu_model", gpu_models(), ids=lambda gpu_model: gpu_model.short_name)
def test_estimate_agrees_with_the_reference_table(model: str, count: int, gpu_model: object) -> None:
    """The estimate used without local weights never contradicts the document."""
    kind = find_gpu(gpu_model.short_name)  # type: ignore[attr-defined]
    requirements = profile_need(model)
    enough = count * kind.memory_total_bytes >= requirements.total_gpu_memory_bytes
    if kind.compute_capability < (8, 0):
        with pytest.raises(NoSuitableGPU):
            plan(model, f"{count}x{kind.short_name}")
    elif enough:
        assert plan(model, f"{count}x{kind.short_name}").gpus
    else:
        with pytest.raises(DoesNotFit):
            plan(model, f"{count}x{kind.short_name}")


def test_suggested_gpus() -> None:
    medium = profile_need("medium")
    suggested = list(map(str, suggestions(medium, gpu_models())))
    assert {"1 x A100-80GB", "2 x A100-40GB", "2 x A6000", "4 x A10"} <= set(suggested)
    assert "3 x A10" not in suggested
    assert suggest_gpus(medium, gpu_models()) == "This would fit: 1 x A100-80GB, 2 x A100-40GB, 4 x A10."
    assert suggest_gpus(profile_need("small"), gpu_models()) == "This would fit: 1 x A10."
