"""Parse request bodies into objects, with one-sentence errors."""

import codecs
import re
from typing import Any, TypeVar

import msgspec

from ..errors import RequestError

_Kind = TypeVar("_Kind")

PARSED_BODY = "maritalk.body"
"""Entry of the ASGI scope with the parsed body, so that no later layer parses it again.

It equals the bytes that `receive` returns: a layer that changes the body replaces both. Absent if none has parsed it.
"""

MAX_LEVELS = 256
"""Maximum nesting depth of objects and lists, which later code processes recursively."""

_FLOAT_FOR_INT = re.compile(r"Expected `int(?: \| null)?`, got `float` - at `\$\.(\w+)`")
_NULL_FOR_DEFAULT = re.compile(r"Expected .*, got `null` - at `\$\.(\w+)`")


def read(body: bytes, kind: type[_Kind], *, strict: bool = True) -> _Kind:
    """Parse a request body as `kind`, regardless of its Content-Type. Raises RequestError.

    Integers may be written as 2.0 or 1e3, and null stands for a field's default. With `strict` false, booleans and
    numbers may also be strings.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        try:
            request = msgspec.json.decode(body, type=kind, strict=strict)
        except msgspec.ValidationError as error:
            if not any(each.fullmatch(str(error)) for each in (_FLOAT_FOR_INT, _NULL_FOR_DEFAULT)):
                raise
            request = _convert(msgspec.json.decode(body), kind, strict=strict)
    except msgspec.ValidationError as error:
        raise RequestError(f"The request is not valid: {explain(error)}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise RequestError(f"The body is not JSON: {reason}.") from error
    except RecursionError as error:
        raise _too_deep() from error
    if body.count(b"{") + body.count(b"[") > MAX_LEVELS:
        _check_levels(request)
    return request


def _convert(value: Any, kind: type[_Kind], *, strict: bool) -> _Kind:  # noqa: ANN401
    """Convert parsed JSON, with integral floats and nulls for defaults. Raises msgspec.ValidationError."""
    while True:
        try:
            return msgspec.convert(value, kind, strict=strict)
        except msgspec.ValidationError as error:
            if (found := _FLOAT_FOR_INT.fullmatch(str(error))) and value[found[1]].is_integer():
                value[found[1]] = int(value[found[1]])
            elif (found := _NULL_FOR_DEFAULT.fullmatch(str(error))) and has_default(kind, found[1]):
                del value[found[1]]
            else:
                raise


def has_default(kind: type, name: str) -> bool:
    """Whether field `name` of `kind` is optional."""
    fields = (field for field in msgspec.structs.fields(kind) if field.encode_name == name)
    return any(not field.required for field in fields)


def _check_levels(request: object) -> None:
    """Raise RequestError if `request` is nested too deeply."""
    level = [request]
    for _ in range(MAX_LEVELS):
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [each for children in inner for each in children if isinstance(each, dict | list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> RequestError:
    return RequestError(
        f"The body is not JSON that this server reads: its objects and lists lie more than {MAX_LEVELS} deep in each "
        "other.",
        "Flatten it.",
    )


def explain(error: msgspec.ValidationError) -> str:
    """Put the field first in msgspec's message: "Expected `int`, got `str` - at `$.seed`" -> "seed: expected ..."."""
    reason, field = reason_and_field(error)
    reason = reason[0].lower() + reason[1:]
    return f"{field}: {reason}" if field else reason


def reason_and_field(error: msgspec.ValidationError) -> tuple[str, str]:
    """The parts of msgspec's message: what is wrong, and the field that it is about, empty for the whole value."""
    reason, _, path = str(error).replace("`", "").partition(" - at $")
    return reason, path.lstrip(".")
