"""The files of configs/, which are part of the program."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parent


def read(name: str) -> Any:  # noqa: ANN401
    """The content of one file, such as `gpus`."""
    return yaml.load((_folder() / f"{name}.yaml").read_text(encoding="utf-8"), _LOADER)


def names() -> Iterator[str]:
    """Every file's name, without its ending."""
    return (file.stem for file in sorted(_folder().glob("*.yaml")))


def _folder() -> Path:
    # In a wheel configs/ lies inside the package; in a checkout beside it.
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


# The same, ten times as fast, wherever PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
