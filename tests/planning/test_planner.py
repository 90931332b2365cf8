"""The choice between GPUs and the CPU, and the suggestions in errors."""

from dataclasses import replace

import pytest

from maritalk_vllm.errors import DoesNotFit, EngineError, NoSuitableGPU
from maritalk_vllm.hardware.gpu import UnusableGpu
from maritalk_vllm.hardware.gpu_catalog import GpuModel, gpu_models
from maritalk_vllm.hardware.inventory import Inventory
from maritalk_vllm.planning.model_requirements import ModelRequirements
from maritalk_vllm.planning.planner import choose_device, gpu_requirement, make_plan
from maritalk_vllm.settings import Device
from tests.planning.machines import SHORT_8B, hypothetical_machine, open_need, profile_need

DEMO, SMALL, OPEN = profile_need("demo"), profile_need("small"), open_need()
A10, T4, BOTH = hypothetical_machine("A10"), hypothetical_machine("T4"), hypothetical_machine("T4,A10")
NONE = Inventory(
    (), None, absent="the driver's library libnvidia-ml.so.1 is not installed", absent_hint="Install the NVIDIA driver."
)
LOST = Inventory((), None, unusable=(UnusableGpu(0, None, "it has fallen off the bus"),))
HIDDEN = replace(NONE, hidden=A10.gpus, remarks=("CUDA_VISIBLE_DEVICES is empty, which hides every GPU.",))


@pytest.mark.parametrize(
    ("requested_device", "requirements", "machine", "installed_device", "device", "message"),
    [
        (Device.AUTO, DEMO, A10, Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, SMALL, A10, Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, SMALL, BOTH, Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, OPEN, A10, Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, DEMO, NONE, Device.CPU, Device.CPU, "No NVIDIA GPU was found (the driver's library"),
        (Device.AUTO, DEMO, T4, Device.CPU, Device.CPU, "Tesla T4 (7.5)"),
        (Device.AUTO, DEMO, LOST, Device.CPU, Device.CPU, "GPU 0: it has fallen off the bus"),
        (Device.AUTO, DEMO, HIDDEN, Device.CPU, Device.CPU, "CUDA_VISIBLE_DEVICES is empty"),
        (Device.AUTO, DEMO, A10, Device.CPU, Device.CPU, "The installed vLLM is its CPU build"),
        (Device.AUTO, OPEN, NONE, Device.CPU, Device.CPU, "No NVIDIA GPU"),
        (Device.CPU, DEMO, A10, Device.CPU, Device.CPU, ""),
        (Device.CUDA, DEMO, A10, Device.CUDA, Device.CUDA, ""),
    ],
)
def test_chosen_device(
    requested_device: Device,
    requirements: ModelRequirements,
    machine: Inventory,
    installed_device: Device,
    device: Device,
    message: str,
) -> None:
    chosen, why = choose_device(requested_device, requirements, machine, installed_device)
    assert chosen is device
    assert message in why
    assert bool(why) == bool(message)


@pytest.mark.parametrize(
    ("requested_device", "requirements", "machine"),
    [(Device.CPU, DEMO, A10), (Device.CPU, OPEN, NONE), (Device.AUTO, OPEN, T4)],
)
def test_cuda_build_does_not_run_on_a_cpu(
    requested_device: Device, requirements: ModelRequirements, machine: Inventory
) -> None:
    with pytest.raises(EngineError, match="CUDA build"):
        choose_device(requested_device, requirements, machine, Device.CUDA)


def test_hidden_gpus_give_no_advice_to_install_another_build() -> None:
    with pytest.raises(NoSuitableGPU) as error:
        choose_device(Device.AUTO, DEMO, HIDDEN, Device.CUDA)
    assert error.value.hint == "Name GPUs of this machine in CUDA_VISIBLE_DEVICES, or unset it."


@pytest.mark.parametrize(
    ("requested_device", "requirements", "machine", "installed_device", "message"),
    [
        (Device.AUTO, SMALL, NONE, Device.CPU, "24 GB"),
        (Device.AUTO, SMALL, T4, Device.CUDA, "Tesla T4 (7.5)"),
        (Device.AUTO, SMALL, A10, Device.CPU, "CPU build"),
        (Device.AUTO, SMALL, LOST, Device.CUDA, "fallen off the bus"),
        (Device.AUTO, SMALL, HIDDEN, Device.CUDA, "hides every GPU"),
        (Device.CPU, SMALL, A10, Device.CUDA, "does not run on a CPU"),
        (Device.CUDA, DEMO, NONE, Device.CPU, "--device cpu"),
        # The CUDA build needs the driver for every model.
        (Device.AUTO, DEMO, NONE, Device.CUDA, "was found (the driver's library libnvidia-ml.so.1 is not installed)."),
        (Device.AUTO, DEMO, NONE, Device.CUDA, "Install the NVIDIA driver. To serve without a GPU, install"),
        (Device.CUDA, DEMO, NONE, Device.CUDA, "Install the NVIDIA driver. To serve without a GPU, install"),
        (Device.AUTO, SMALL, NONE, Device.CUDA, "Install the NVIDIA driver."),
        (Device.AUTO, OPEN, LOST, Device.CUDA, "GPU 0: it has fallen off the bus"),
        (Device.CUDA, OPEN, T4, Device.CUDA, "8.0"),
    ],
)
def test_no_suitable_gpu(
    requested_device: Device,
    requirements: ModelRequirements,
    machine: Inventory,
    installed_device: Device,
    message: str,
) -> None:
    with pytest.raises(NoSuitableGPU) as error:
        choose_device(requested_device, requirements, machine, installed_device)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("requirements", "machine", "without", "hint"),
    [
        (profile_need("medium"), "2xA10", "", "This would fit: 1 x A100-80GB, 2 x A100-40GB, 4 x A10."),
        # An error with a hint of its own keeps it.
        (open_need(30, replicas="3"), "4xA10", "--replicas 2 would fit.", "--replicas 2 would fit."),
        (
            SMALL,
            "T4",
            "To try the server here, use --model demo.",
            "This would fit: 1 x A10. To try the server here, use --model demo.",
        ),
    ],
)
def test_errors_suggest_gpus_of_the_catalogue(
    requirements: ModelRequirements, machine: str, without: str, hint: str
) -> None:
    for catalog, expected in ((None, without), (gpu_models, hint)):
        with pytest.raises((DoesNotFit, NoSuitableGPU)) as error:
            make_plan(requirements, hypothetical_machine(machine), Device.AUTO, Device.CUDA, catalog)
        assert error.value.hint == expected


def test_the_requirement_of_a_profile_names_its_source() -> None:
    assert gpu_requirement(SMALL).endswith("in all (according to Maritaca, tested on A100, A10, A6000, L4)")


def test_catalogue_is_not_read_for_a_plan() -> None:
    def catalog() -> tuple[GpuModel, ...]:
        raise AssertionError

    assert make_plan(SMALL, A10, Device.AUTO, Device.CUDA, catalog).checked


@pytest.mark.parametrize(("length", "known"), [(None, False), (2000, True)])
def test_assumed_context_is_a_warning(length: int | None, known: bool) -> None:
    requirements = open_need(16, replace(SHORT_8B, max_model_len=None), max_model_len=length)
    result = make_plan(requirements, A10, Device.AUTO, Device.CUDA)
    assert result.length_known is known
    assert any("the plan assumes 4096 tokens" in each for each in result.warnings) is not known
