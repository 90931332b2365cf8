"""Packages that only some commands need: they are extras of this package, and not installed with the server alone."""

import importlib.util

from .errors import UsageError
from .i18n.message import msg

_EXTRAS = {"aiohttp": "bench", "matplotlib": "plot", "prompt_toolkit": "chat"}
"""The extra of pyproject.toml that installs each module."""


def require(module: str, used_by: str) -> None:
    """Raise UsageError if `module` is not installed, which the command or option `used_by` needs."""
    if importlib.util.find_spec(module) is None:
        raise UsageError(
            msg("{option} needs the package {package}.", option=used_by, package=module.replace("_", "-")),
            msg('In a clone of the repository: pip install ".[{extra}]".', extra=_EXTRAS[module]),
        )
