"""Sample messages of any class, from the types of its fields: a new message is tested without a test of its own."""

import dataclasses
import os
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from maritalk_vllm.server.messaging.direction import Direction, encode_value
from maritalk_vllm.server.process.descriptors import Descriptor

T = TypeVar("T")

FILLED_AND_EMPTY = (True, False)

_BASIC: dict[Any, tuple[Any, Any]] = {
    int: (7, 1),
    float: (float("inf"), 0.0),
    bool: (True, False),
    str: ("ação", ""),
    bytes: (b"\0\xff", b""),
    # A name need not be valid UTF-8.
    Path: (Path(os.fsdecode(b"/a\xe7\xe3o")), Path()),
    Any: ({"x": [None, 1.5]}, None),
}


def sample(kind: Any, *, filled: bool) -> Any:
    """A value of a type. `filled`: with all optional values and with elements; otherwise without."""
    if kind in _BASIC:
        return _BASIC[kind][0 if filled else 1]
    if kind is Descriptor:
        return Descriptor(os.open("/dev/null", os.O_RDONLY))
    if hasattr(kind, "__supertype__"):  # a NewType
        return sample(kind.__supertype__, filled=filled)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        has_pattern = any(isinstance(each, msgspec.Meta) and each.pattern for each in arguments)
        return "0f" * 32 if has_pattern else sample(arguments[0], filled=filled)
    if origin in (Union, types.UnionType):
        return None if types.NoneType in arguments and not filled else sample(arguments[0], filled=filled)
    if origin in (list, tuple):
        return origin([sample(arguments[0], filled=filled)] if filled else [])
    if origin in (dict, Mapping):
        return {sample(arguments[0], filled=True): sample(arguments[1], filled=True)} if filled else {}
    if issubclass(kind, Enum):
        return list(kind)[0 if filled else -1]
    if dataclasses.is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
        return kind(**{name: sample(hints[name], filled=filled) for name in field_names(kind)})
    raise AssertionError(f"no sample of {kind}")


def field_names(kind: type[Any]) -> list[str]:
    """The names of the fields of a dataclass or of a Struct."""
    if issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    return [each.name for each in dataclasses.fields(kind)]


def assert_same(value: Any, other: Any) -> None:
    """Both are equal, and of the same types at any depth. Descriptors are of the same file."""
    assert type(value) is type(other)
    if isinstance(value, Descriptor):
        assert os.path.samestat(os.fstat(value.number), os.fstat(other.number))
    elif isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value):
        for name in field_names(type(value)):
            assert_same(getattr(value, name), getattr(other, name))
    elif isinstance(value, dict):
        assert list(map(type, value)) == list(map(type, other))
        assert list(value) == list(other)
        for key in value:
            assert_same(value[key], other[key])
    elif isinstance(value, list | tuple):
        assert len(value) == len(other)
        for one, another in zip(value, other, strict=True):
            assert_same(one, another)
    else:
        assert value == other


def close_descriptors(message: Any) -> None:
    """Close the descriptors among a message's fields."""
    for name in field_names(type(message)):
        if isinstance(value := getattr(message, name), Descriptor):
            value.close()


def wire_fields(direction: Direction[T], message: T) -> dict[str, Any]:
    """A message's fields as they are sent, to be changed."""

    def encode(value: object) -> object:
        return 0 if isinstance(value, Descriptor) else encode_value(value)

    fields: dict[str, Any] = msgspec.msgpack.decode(direction.encode(message, encode))
    return fields


def frame(content: bytes) -> bytes:
    """The frame of any content."""
    return len(content).to_bytes(4, "big") + content


def invalid_fields(kind: type[Any]) -> list[tuple[str, dict[str, Any]]]:
    """For each field: a problem that the error has to name, and what to change in the message; None removes a field."""
    hints = get_type_hints(kind, include_extras=True)
    cases: list[tuple[str, dict[str, Any]]] = []
    for name in field_names(kind):
        cases.append((f"`$.{name}", {name: [[[]]]}))
        if name in _required(kind):
            cases.append((f"missing required field `{name}`", {name: None}))
        if get_origin(hints[name]) in (list, dict):
            cases.append((f"`$.{name}", {name: {1: 2}}))
    return cases


def _required(kind: type[Any]) -> list[str]:
    return [each.name for each in msgspec.structs.fields(kind) if each.required]


def changed(fields: dict[str, Any], change: dict[str, Any]) -> bytes:
    """The content of a message after a change of its fields."""
    return msgspec.msgpack.encode({name: value for name, value in {**fields, **change}.items() if value is not None})
