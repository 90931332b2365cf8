"""The body of a request becomes an object, or one sentence on what is wrong with it."""

from typing import TypeVar

import msgspec

from ..errors import RequestError

_Kind = TypeVar("_Kind")


def read(body: bytes, kind: type[_Kind], *, strict: bool = True) -> _Kind:
    """A request from the body of a post, whatever its Content-Type says. Raises RequestError.

    Not `strict` takes booleans and numbers that come as strings too.
    """
    try:
        return msgspec.json.decode(body, type=kind, strict=strict)
    except msgspec.ValidationError as error:
        raise RequestError(f"The request is not valid: {_explain(str(error))}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        raise RequestError(f"The body is not JSON: {reason}.") from error


def _explain(message: str) -> str:
    """msgspec's message with the field first: "Expected `int`, got `str` - at `$.seed`" -> "seed: expected ..."."""
    text, _, path = message.replace("`", "").partition(" - at $")
    text = text[0].lower() + text[1:]
    return f"{path.lstrip('.')}: {text}" if path else text
