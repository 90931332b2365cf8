"""Typed access to a model's JSON files, with error sentences for values of the wrong type."""

import json
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..i18n.message import Number, msg

_MAX_BYTES = 64 << 20
_COPY = "Copy or download it again."

MAX_SIZE = 10**12
"""Upper bound for every size of a model."""


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON object from a file. Raises WeightsError, which names the file, if it is missing or not an object."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(msg("{file} is not a regular file.", file=file), _COPY)
        if status.st_size > _MAX_BYTES:
            raise WeightsError(
                msg(
                    "{file} is damaged: it has {number} bytes, more than any such file.",
                    file=file,
                    number=Number(status.st_size),
                ),
                _COPY,
            )
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise WeightsError(
            msg("{parent} holds no model: it has no {name}.", parent=file.parent, name=file.name),
            "Give the folder of a checkpoint.",
        ) from None
    except OSError as error:
        raise WeightsError(msg("{target} cannot be read: {reason}.", target=file, reason=error.strerror)) from error
    except RecursionError as error:
        raise WeightsError(msg("{file} is damaged: its values are nested too deeply.", file=file), _COPY) from error
    except ValueError as error:
        raise WeightsError(msg("{file} is damaged: {error}.", file=file, error=error), _COPY) from error
    if not isinstance(content, dict):
        raise WeightsError(msg("{file} is damaged: it holds no JSON object.", file=file), _COPY)
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An object in a JSON file. Keys are also looked up by the name that the model's class gives them (`names`), and
    missing keys have the class's default (`defaults`).

    `strict` is for classes that reject a float instead of an integer, even 8.0. Each getter returns None for a key that
    is missing or null, and raises WeightsError, which names file and key, for a value of the wrong type.
    """

    content: Mapping[str, Any]
    file: Path
    path: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    def get(self, key: str) -> Any:  # noqa: ANN401
        """The value, of any type."""
        class_key = self.names.get(key, key)
        for name in (key, class_key):
            if name in self.content:
                return self.content[name]
        return self.defaults.get(class_key)

    def size(self, key: str, *, minimum: int = 1, maximum: int = MAX_SIZE) -> int | None:
        """An integer from `minimum` to `maximum`."""
        value = self.get(key)
        return None if value is None else self._integer(key, value, minimum, maximum)

    def largest(self, key: str, *, minimum: int = 1, maximum: int = MAX_SIZE) -> int | None:
        """An integer, or the largest of a list with one integer per layer."""
        value = self.get(key)
        if not isinstance(value, list):
            return self.size(key, minimum=minimum, maximum=maximum)
        return max((self._integer(key, each, 0, maximum) for each in value if each is not None), default=None)

    def number(self, key: str) -> float | None:
        """A finite number above 0."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MAX_SIZE:
            raise self.invalid_value(key, "It has to be a number above 0.")
        return float(value)

    def boolean(self, key: str) -> bool | None:
        """True or false."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.invalid_value(key, "It has to be true or false.")
        return value

    def string(self, key: str) -> str | None:
        """A string."""
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise self.invalid_value(key, "It has to be a text.")
        return value

    def strings(self, key: str) -> list[str] | None:
        """A list of strings."""
        value = self.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            raise self.invalid_value(key, "It has to be a list of texts.")
        return value

    def section(self, key: str) -> "Section | None":
        """A nested object."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.invalid_value(key, "It has to be an object.")
        return Section(content=value, file=self.file, path=f"{self.path}{key}.", strict=self.strict)

    def invalid_value(self, key: str, expected: str) -> WeightsError:
        """The error for an invalid value; the sentence `expected` says what it has to be."""
        shown = json.dumps(self.get(key), default=str)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return WeightsError(
            msg("{file} is damaged: {path}{key} is {shown}.", file=self.file, path=self.path, key=key, shown=shown),
            f"{expected} {_COPY}",
        )

    def _integer(self, key: str, value: object, minimum: int, maximum: int) -> int:
        if isinstance(value, float) and not self.strict and math.isfinite(value) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise self.invalid_value(
                key, msg("It has to be a whole number from {minimum} to {maximum}.", minimum=minimum, maximum=maximum)
            )
        return value
