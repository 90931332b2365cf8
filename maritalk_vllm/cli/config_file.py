"""The configuration file: option values as text, with the line of each.

YAML's own types are not used: in YAML 1.1 `011` is 9, `22:30` is 1350, `12.10` is 12.1 and `no` is false. Each value is
read as text and parsed as on the command line.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_origin, get_type_hints

import yaml

from ..errors import UsageError
from ..i18n.message import msg
from ..settings import OPTIONS, Settings
from ..text_format import did_you_mean

SEVERAL = {name for name, kind in get_type_hints(Settings).items() if get_origin(kind) is tuple}
"""The options that may be repeated."""

_NULLS = ("", "~", "null", "Null", "NULL")
"""Unquoted YAML values that mean null."""


@dataclass(frozen=True, slots=True)
class Place:
    """Location of an option: file, line (counted from 1), and its name as written."""

    file: Path
    line: int
    key: str

    def __str__(self) -> str:
        return msg("{name} in line {number} of {file}", name=self.key, number=self.line, file=self.file)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file's options: a text, or a list of texts for repeatable options, and the location of each."""

    values: dict[str, str | list[str]]
    places: dict[str, Place]


def read_config(file: Path) -> ConfigFile:
    """Read options from a YAML file. Raises UsageError, for an unknown option with the nearest known name."""
    try:
        # BaseLoader does not convert numbers and dates.
        root = yaml.compose(file.read_text(encoding="utf-8-sig"), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(
            msg("The configuration file {file} cannot be read: {reason}.", file=file, reason=_reason(error))
        ) from error
    if root is None:
        return ConfigFile({}, {})
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(
            msg("The configuration file {file} does not hold options.", file=file),
            "Write one `name: value` per line, as YAML.",
        )
    values: dict[str, str | list[str]] = {}
    places: dict[str, Place] = {}
    for name, place, node in _options(file, root):
        if name not in OPTIONS:
            raise UsageError(
                msg(
                    "The configuration file {file} has an unknown option in line {number}: {name}.",
                    file=file,
                    number=place.line,
                    name=place.key,
                ),
                did_you_mean(name, OPTIONS),
            )
        if name in places:
            raise UsageError(
                msg("{place} was given before, in line {number}.", place=place, number=places[name].line),
                "Leave one of them out.",
            )
        places[name] = place
        value = _value(name, place, node)
        if value is not None:
            values[name] = value
    return ConfigFile(values, places)


def _options(file: Path, root: yaml.MappingNode) -> Iterator[tuple[str, Place, yaml.Node]]:
    for key, node in root.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UsageError(
                msg("The configuration file {file} has no name of an option in line {number}.", file=file, number=line)
            )
        yield key.value.replace("-", "_"), Place(file, line, key.value), node


def _value(name: str, place: Place, node: yaml.Node) -> str | list[str] | None:
    """The value as text, or None for null. Raises UsageError for a value of another type."""
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and node.value in _NULLS:
            return None
        if name == "engine_args":
            try:
                return shlex.split(node.value)
            except ValueError:
                raise UsageError(msg("{place} has a quotation mark without its counterpart.", place=place)) from None
        return [node.value] if name in SEVERAL else str(node.value)
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(each, yaml.ScalarNode) for each in node.value):
        raise UsageError(
            msg("{place} is no value of an option.", place=place), "Write a text or a number, or a list of them."
        )
    if name not in SEVERAL:
        raise UsageError(
            msg("{place} is a list, and this option has one value.", place=place), "Write it without brackets."
        )
    return [str(each.value) for each in node.value]


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    if isinstance(error, RecursionError):
        return "its values are nested too deeply"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is not None and problem:
        return msg("line {number}: {problem}", number=mark.line + 1, problem=problem)
    return " ".join(str(error).split())
