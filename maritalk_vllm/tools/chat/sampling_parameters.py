"""The user's sampling parameters: fields of MariTalk Local's API, validated by the API's own types."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from ...api.local_schema import LocalRequest, field_value
from ...errors import RequestError, UsageError
from ...i18n.rendering import say
from ...text_format import did_you_mean

_FIXED = ("stream", "n", "return_usage")
"""Fields that the chat sets: it streams one answer, and counts its tokens."""

_FIELDS = {field.name: field for field in msgspec.structs.fields(LocalRequest) if field.name not in _FIXED}

PARAMETERS = tuple(_FIELDS)
"""Names of the parameters."""


class SamplingParameters:
    """Values of the parameters; those that are not set have the API's defaults."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    @property
    def fields(self) -> Mapping[str, Any]:
        """The fields to send. `max_tokens` is always included, since context trimming depends on it."""
        return {"max_tokens": self.max_tokens, **self._values}

    @property
    def max_tokens(self) -> int:
        """Maximum length of an answer, in tokens."""
        limit: int = self._values.get("max_tokens", _FIELDS["max_tokens"].default)
        return limit

    def change(self, assignments: Iterable[str]) -> None:
        """Set `temperature=0.2`, or the default with `temperature=`. Raises UsageError, and then changes nothing."""
        changed = dict(self._values)
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if name not in _FIELDS:
                raise UsageError(say("There is no parameter {name}.", name=name), did_you_mean(name, _FIELDS))
            if not equals:
                raise UsageError(say("{name} has no value.", name=name), say("Write {name}=VALUE.", name=name))
            if text:
                changed[name] = _value(name, text)
            else:
                changed.pop(name, None)
        self._values = changed

    def lines(self) -> list[tuple[str, str]]:
        """Each name with its value as JSON."""
        return [(name, json.dumps(self._values.get(name, _default(name)), ensure_ascii=False)) for name in _FIELDS]


def assignments(text: str) -> list[str]:
    """Split `temperature=0.2 'stop_sequences=["a b"]'` as a shell does. Raises UsageError for an open quotation."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(say("A quotation mark is not closed."), say("Close it.")) from error


def _default(name: str) -> object:
    return [] if name == "stop_sequences" else _FIELDS[name].default


def _value(name: str, text: str) -> object:
    """Parse a value. Raises UsageError for one that the API would reject."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    if name == "stop_sequences" and isinstance(value, str):
        value = [value]
    try:
        return field_value(name, value)
    except RequestError as error:
        what = _describe(inspect.type_info(_FIELDS[name].type))
        message = say("Invalid value for {name}: expected {what}, got {text}.", name=name, what=what, text=text)
        raise UsageError(message) from error


def _describe(kind: inspect.Type) -> str:
    """The allowed values as text, such as `a number, over 0, at most 1`."""
    match kind:
        case inspect.Metadata(type=inner):
            return _describe(inner)
        case inspect.UnionType(types=types):
            return _describe(next(each for each in types if not isinstance(each, inspect.NoneType)))
        case inspect.BoolType():
            return say("true or false")
        case inspect.ListType(max_length=most):
            return say('a list of at most {most} texts, such as ["a", "b"]', most=most)
        case inspect.IntType(ge=least, gt=over, le=most):
            return ", ".join((say("a whole number"), *_limits(least, over, most)))
        case inspect.FloatType(ge=least, gt=over, le=most):
            return ", ".join((say("a number"), *_limits(least, over, most)))
    raise TypeError(kind)


def _limits(least: float | None, over: float | None, most: float | None) -> list[str]:
    limits = []
    if least is not None:
        limits.append(say("at least {least}", least=least))
    if over is not None:
        limits.append(say("over {over}", over=over))
    if most is not None:
        limits.append(say("at most {most}", most=most))
    return limits
