"""Where a model runs: every case on both sides."""

import pytest

from maritalk_vllm.errors import EngineError, NoSuitableGPU
from maritalk_vllm.hardware.gpu import Gpu
from maritalk_vllm.models.profile import Profile, find
from maritalk_vllm.planning.device import choose_device
from maritalk_vllm.settings import Device


def gpu(name: str, *capability: int) -> Gpu:
    return Gpu(0, "GPU-0", name, 24 * 10**9, 23 * 10**9, (capability[0], capability[1]))


A10 = gpu("NVIDIA A10", 8, 6)
T4 = gpu("Tesla T4", 7, 5)
DEMO, SMALL = find("demo"), find("small")


@pytest.mark.parametrize(
    ("wish", "profile", "gpus", "build", "device", "says"),
    [
        (Device.AUTO, DEMO, [A10], Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, SMALL, [A10], Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, SMALL, [T4, A10], Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, None, [A10], Device.CUDA, Device.CUDA, ""),
        (Device.AUTO, DEMO, [], Device.CPU, Device.CPU, "No NVIDIA GPU was found: serving on the CPU."),
        (Device.AUTO, DEMO, [T4], Device.CPU, Device.CPU, "Tesla T4 (7.5)"),
        (Device.AUTO, DEMO, [A10], Device.CPU, Device.CPU, "The installed vLLM is its CPU build"),
        (Device.AUTO, None, [], Device.CPU, Device.CPU, "No NVIDIA GPU"),
        (Device.CPU, DEMO, [A10], Device.CPU, Device.CPU, ""),
        (Device.CUDA, DEMO, [A10], Device.CUDA, Device.CUDA, ""),
    ],
)
def test_chosen(
    wish: Device, profile: Profile | None, gpus: list[Gpu], build: Device, device: Device, says: str
) -> None:
    chosen, why = choose_device(wish, profile, gpus, build)
    assert chosen is device
    assert says in why
    assert bool(why) == bool(says)


@pytest.mark.parametrize(
    ("wish", "profile", "gpus"), [(Device.CPU, DEMO, [A10]), (Device.AUTO, DEMO, []), (Device.AUTO, None, [T4])]
)
def test_the_cuda_build_does_not_run_on_a_cpu(wish: Device, profile: Profile | None, gpus: list[Gpu]) -> None:
    with pytest.raises(EngineError, match="CUDA build"):
        choose_device(wish, profile, gpus, Device.CUDA)


@pytest.mark.parametrize(
    ("wish", "profile", "gpus", "build", "says"),
    [
        (Device.AUTO, SMALL, [], Device.CPU, "24 GB"),
        (Device.AUTO, SMALL, [T4], Device.CUDA, "Tesla T4 (7.5)"),
        (Device.AUTO, SMALL, [A10], Device.CPU, "CPU build"),
        (Device.CPU, SMALL, [A10], Device.CUDA, "does not run on a CPU"),
        (Device.CUDA, DEMO, [], Device.CUDA, "--device cpu"),
        (Device.CUDA, None, [T4], Device.CUDA, "8.0"),
    ],
)
def test_refused(wish: Device, profile: Profile | None, gpus: list[Gpu], build: Device, says: str) -> None:
    with pytest.raises(NoSuitableGPU) as refusal:
        choose_device(wish, profile, gpus, build)
    assert says in str(refusal.value)
