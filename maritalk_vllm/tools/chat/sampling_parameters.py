"""How the model is to answer: the fields of MariTalk Local's API that a chat leaves open, checked by its own types."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from ...api.local_schema import LocalRequest, field_value
from ...errors import RequestError, UsageError
from ...language import say
from ...text_format import did_you_mean

_OURS = ("stream", "n", "return_usage")
"""What a chat decides itself: it streams one answer, and counts its tokens."""

_FIELDS = {field.name: field for field in msgspec.structs.fields(LocalRequest) if field.name not in _OURS}


class SamplingParameters:
    """Their values; whatever is not set is as the API has it."""

    def __init__(self) -> None:
        self._set: dict[str, Any] = {}

    @property
    def fields(self) -> Mapping[str, Any]:
        """What is posted. `max_tokens` is always part of it: whoever counts the context has to know it."""
        return {"max_tokens": self.max_tokens, **self._set}

    @property
    def max_tokens(self) -> int:
        """Longest answer, in tokens."""
        limit: int = self._set.get("max_tokens", _FIELDS["max_tokens"].default)
        return limit

    def change(self, assignments: Iterable[str]) -> None:
        """`temperature=0.2`; `temperature=` sets the default back. Raises UsageError, and then changes none."""
        changed = dict(self._set)
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
        self._set = changed

    def lines(self) -> list[tuple[str, str]]:
        """Each name and its value, as it is written in JSON."""
        return [(name, json.dumps(self._set.get(name, _default(name)), ensure_ascii=False)) for name in _FIELDS]


def _default(name: str) -> object:
    return [] if name == "stop_sequences" else _FIELDS[name].default


def _value(name: str, text: str) -> object:
    """Raises UsageError for a value that the API would refuse."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    if name == "stop_sequences" and isinstance(value, str):
        value = [value]
    try:
        return field_value(name, value)
    except RequestError as error:
        what = _meaning(inspect.type_info(_FIELDS[name].type))
        raise UsageError(say("{name}={text} does not do: it is {what}.", name=name, text=text, what=what)) from error


def _meaning(kind: inspect.Type) -> str:
    """`a number, over 0, at most 1`."""
    match kind:
        case inspect.Metadata(type=inner):
            return _meaning(inner)
        case inspect.UnionType(types=types):
            return _meaning(next(each for each in types if not isinstance(each, inspect.NoneType)))
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
