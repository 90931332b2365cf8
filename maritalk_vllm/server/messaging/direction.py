"""One direction of a channel: the messages that may be sent in it, and their encoding.

A message is sent as a frame: the length of its content in 4 bytes, the most significant first, and then the content in
MessagePack.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

import msgspec

from ...i18n.message import msg
from .base_message import MessageError

T = TypeVar("T")

EncodeHook = Callable[[object], object]
DecodeHook = Callable[[type, Any], object]

MAX_MESSAGE_BYTES = 64 << 20
"""Default limit of a message: that many bytes hold half a million API keys."""

_HEADER = struct.Struct("!I")

HEADER_BYTES = _HEADER.size
"""Length of a frame's header."""

_INVALID = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_SHOWN_CHARACTERS = 40


def encode_value(value: object) -> object:
    """Encode a path as bytes, since it need not be valid UTF-8, and a message for users as its English text.

    Raises TypeError for anything else.
    """
    if isinstance(value, Path):
        return os.fsencode(value)
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"Expected `Path`, got `{type(value).__name__}`")


def decode_value(kind: type, value: Any) -> object:  # noqa: ANN401
    """Revert `encode_value`. Raises TypeError for anything but bytes."""
    if issubclass(kind, Path) and isinstance(value, bytes):
        return Path(os.fsdecode(value))
    raise TypeError(f"Expected `{kind.__name__}`, got `{type(value).__name__}`")


class _Tag(msgspec.Struct):
    type: str


class Direction(Generic[T]):
    """The union `T` of the messages that are sent in one direction, which is all that may arrive."""

    def __init__(self, messages: Any, name: str, max_bytes: int = MAX_MESSAGE_BYTES) -> None:  # noqa: ANN401
        """`messages`: the union. `name`: for errors, such as `to the supervisor`."""
        self._messages = messages
        self._name = name
        self.types: tuple[type[Any], ...] = get_args(messages) or (messages,)
        """The classes of the messages."""
        self._tags = {each.__struct_config__.tag for each in self.types}
        self.max_bytes = max_bytes
        """Limit of a message's content."""

    def encode(self, message: T, hook: EncodeHook = encode_value) -> bytes:
        """Return a message's content. `hook` encodes objects of types that msgspec does not know.

        Raises MessageError if the content is too long.
        """
        name = type(message).__name__
        try:
            content = msgspec.msgpack.encode(message, enc_hook=hook)
        except UnicodeEncodeError as error:
            raise self.error(msg("{message} has text that UTF-8 cannot encode", message=name)) from error
        self._check_length(len(content), name)
        return content

    def header(self, content: bytes) -> bytes:
        """Return the header of the frame with this content."""
        return _HEADER.pack(len(content))

    def frame(self, message: T) -> bytes:
        """Return a message's frame. Raises MessageError if the content is too long."""
        content = self.encode(message)
        return self.header(content) + content

    def length(self, header: bytes) -> int:
        """Return the length of the content that follows this header. Raises MessageError if it exceeds `max_bytes`."""
        if len(header) != HEADER_BYTES:
            raise self.error(
                msg(
                    "its header ends after {number} of {header_bytes} bytes",
                    number=len(header),
                    header_bytes=HEADER_BYTES,
                )
            )
        (length,) = _HEADER.unpack(header)
        self._check_length(length)
        return int(length)

    def decode(self, content: bytes, hook: DecodeHook = decode_value) -> T:
        """Return the message with this content. `hook` reverts the hook of `encode`.

        Raises MessageError, which names the message's type and the field, unless it is one of the types of the union
        with all its fields.
        """
        tag = ""
        try:
            # By itself first: msgspec accepts a message without its type where the union has only one.
            tag = msgspec.msgpack.decode(content, type=_Tag).type
            if tag not in self._tags:
                raise self.error(msg("its type {type!r} is unknown", type=tag[:_SHOWN_CHARACTERS]))
            message: T = msgspec.msgpack.decode(content, type=self._messages, dec_hook=hook)
        except _INVALID as error:
            raise self.error(f"{tag}: {error}" if tag else str(error)) from error
        return message

    def error(self, problem: str) -> MessageError:
        """Return the error for a message in this direction. `problem`: the end of a sentence."""
        return MessageError.about(self._name, problem)

    def _check_length(self, length: int, name: str = "it") -> None:
        if length > self.max_bytes:
            raise self.error(
                msg(
                    "{message} has {length} bytes, over the limit of {limit}",
                    message=name,
                    length=length,
                    limit=self.max_bytes,
                )
            )
