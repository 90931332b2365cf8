"""Reads the YAML files of configs/, which are installed with the package."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parent


def read(name: str) -> Any:  # noqa: ANN401
    """Read one file by name, such as `gpus` or `models/qwen3-4b`."""
    return yaml.load((_folder() / f"{name}.yaml").read_text(encoding="utf-8"), _LOADER)


def names(folder: str = "") -> Iterator[str]:
    """Names of all files of a folder in configs/, without extension."""
    return (file.name.removesuffix(".yaml") for file in sorted((_folder() / folder).glob("*.yaml")))


def _folder() -> Path:
    # In a wheel configs/ is inside the package, in a checkout beside it.
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


# The C loader is ten times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
