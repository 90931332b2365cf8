"""A JSON file that came with a model: its values by their types, and sentences about those that are of another."""

import json
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import WeightsError

_MOST_BYTES = 64 << 20
_COPY = "Copy or download it again."

MOST = 10**12
"""No size of a model is larger."""


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object of a file. Raises WeightsError, which names the file, where it is missing or holds none."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise WeightsError(f"{file} is no file.", _COPY)
        if found.st_size > _MOST_BYTES:
            raise WeightsError(f"{file} is damaged: it has {found.st_size:,} bytes, more than any such file.", _COPY)
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise WeightsError(
            f"{file.parent} holds no model: it has no {file.name}.", "Give the folder of a checkpoint."
        ) from None
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}.") from error
    except RecursionError as error:
        raise WeightsError(f"{file} is damaged: its values are nested too deeply.", _COPY) from error
    except ValueError as error:
        raise WeightsError(f"{file} is damaged: {error}.", _COPY) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} is damaged: it holds no JSON object.", _COPY)
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """An object of a JSON file. Keys are looked up by the name that the model's class gives them (`names`), and those
    that the file leaves out have the class's value (`defaults`).

    `strict` is for classes that refuse a float where a whole number belongs, even 8.0. Each reader returns None for a
    key that has no value or null, and raises WeightsError, naming file and key, for a value of another type.
    """

    content: Mapping[str, Any]
    file: Path
    path: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    def get(self, key: str) -> Any:  # noqa: ANN401
        """The value as it is."""
        own = self.names.get(key, key)
        for name in (key, own):
            if name in self.content:
                return self.content[name]
        return self.defaults.get(own)

    def size(self, key: str, *, least: int = 1, most: int = MOST) -> int | None:
        """A whole number from `least` to `most`."""
        value = self.get(key)
        return None if value is None else self._whole(key, value, least, most)

    def largest(self, key: str, *, least: int = 1, most: int = MOST) -> int | None:
        """A whole number, or the largest of those that a list has for each layer."""
        value = self.get(key)
        if not isinstance(value, list):
            return self.size(key, least=least, most=most)
        return max((self._whole(key, each, 0, most) for each in value if each is not None), default=None)

    def number(self, key: str) -> float | None:
        """A finite number above 0."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MOST:
            raise self.wrong(key, "It has to be a number above 0.")
        return float(value)

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "It has to be true or false.")
        return value

    def word(self, key: str) -> str | None:
        """A text."""
        value = self.get(key)
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "It has to be a text.")
        return value

    def words(self, key: str) -> list[str] | None:
        """A list of texts."""
        value = self.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            raise self.wrong(key, "It has to be a list of texts.")
        return value

    def section(self, key: str) -> "Section | None":
        """An object inside of this one."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(key, "It has to be an object.")
        return Section(content=value, file=self.file, path=f"{self.path}{key}.", strict=self.strict)

    def wrong(self, key: str, needed: str) -> WeightsError:
        """The error for a value that is not as the sentence `needed` has it."""
        shown = json.dumps(self.get(key), default=str)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
        return WeightsError(f"{self.file} is damaged: {self.path}{key} is {shown}.", f"{needed} {_COPY}")

    def _whole(self, key: str, value: object, least: int, most: int) -> int:
        if isinstance(value, float) and not self.strict and math.isfinite(value) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(key, f"It has to be a whole number from {least} to {most}.")
        return value
