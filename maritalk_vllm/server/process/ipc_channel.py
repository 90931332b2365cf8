"""Channels between the server's processes: typed messages, with file descriptors, over a pair of sockets."""

import array
import contextlib
import errno
import os
import select
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from ...i18n.message import msg
from ..messaging.direction import HEADER_BYTES, Direction, decode_value, encode_value
from .descriptors import Descriptor

Received = TypeVar("Received")
Sent = TypeVar("Sent")

_PACKET_BYTES = 64 * 1024
"""Size limit of a packet, well below what Linux lets a socket send at once (net.core.wmem_default)."""

_MAX_DESCRIPTORS = 8
"""Limit of the descriptors of one packet. Linux has one of 253."""


class MessageLost(OSError):
    """A message arrived without its descriptors, since this process has too many files open. Its content is lost."""


class Channel(Generic[Received, Sent]):
    """One end of a pair of sockets. Messages arrive whole, even if several processes send from one end.

    A message is one packet: a frame (`Direction`), or, if that is too long for a packet, the frame's header and the
    descriptor of a file with its content. Descriptors in the message itself follow.
    """

    def __init__(self, end: socket.socket, receives: Direction[Received] | None, sends: Direction[Sent] | None) -> None:
        """`receives` and `sends`: what arrives at this end, and what is sent from it; None for nothing."""
        self._end = end
        self._receives = receives
        self._sends = sends

    @classmethod
    def pair(
        cls, receives: Direction[Received] | None, sends: Direction[Sent] | None
    ) -> "tuple[Channel[Received, Sent], Channel[Sent, Received]]":
        """Both ends of a new channel. `receives` and `sends` are those of the first."""
        # Unlike a pipe or a stream, SEQPACKET preserves message boundaries, also if several processes send.
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return Channel(first, receives, sends), Channel(second, sends, receives)

    @classmethod
    def from_descriptor(
        cls, descriptor: int, receives: Direction[Received] | None, sends: Direction[Sent] | None
    ) -> "Channel[Received, Sent]":
        """The end with this descriptor, which this process has inherited or received."""
        return cls(socket.socket(fileno=descriptor), receives, sends)

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._end.fileno()

    def send(self, message: Sent, *, wait: bool = True) -> None:
        """Send a message. Does nothing if the other end is closed: its death is detected elsewhere.

        The receiver gets a duplicate of each Descriptor in the message. Raises MessageError if the message is too long;
        OSError if the system passes no more descriptors, and without `wait` if the other end's queue is full.
        """
        assert self._sends is not None
        flags = 0 if wait else socket.MSG_DONTWAIT
        descriptors: list[int] = []

        def encode(value: object) -> object:
            if not isinstance(value, Descriptor):
                return encode_value(value)
            descriptors.append(value.number)
            return len(descriptors) - 1

        content = self._sends.encode(message, encode)
        header = self._sends.header(content)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if len(header) + len(content) <= _PACKET_BYTES:
                self._send_packet(header + content, descriptors, flags)
                return
            # The kernel rejects or truncates a longer packet, and several would interleave with those of another
            # process. A memfd exists as long as one of the two processes has it open.
            with os.fdopen(os.memfd_create("message"), "w+b") as file:
                file.write(content)
                file.flush()
                self._send_packet(header, [file.fileno(), *descriptors], flags)

    def try_send(self, message: Sent) -> None:
        """Send a short message; drop it if the other end's queue is full or the system is out of memory."""
        with contextlib.suppress(OSError):
            self.send(message, wait=False)

    def _send_packet(self, packet: bytes, descriptors: Sequence[int], flags: int) -> None:
        assert len(descriptors) <= _MAX_DESCRIPTORS
        # socket.send_fds of Python 3.11 takes flags and ignores them.
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self._end.sendmsg([packet], rights, flags)

    @property
    def has_message(self) -> bool:
        """Whether `receive` would not block."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self) -> Received | None:
        """The next message, or None when no process is left that could send one. Raises MessageError or MessageLost."""
        try:
            packet, descriptors, flags, _ = socket.recv_fds(
                self._end, _PACKET_BYTES, _MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return None
        if not packet:
            return None
        with _closed_on_error(descriptors):
            if flags & socket.MSG_CTRUNC:
                raise MessageLost(errno.EMFILE, os.strerror(errno.EMFILE))
            return self._parse(packet, descriptors)

    def _parse(self, packet: bytes, descriptors: list[int]) -> Received:
        """The message in a packet; its descriptors are taken out of `descriptors`. Raises MessageError."""
        assert self._receives is not None
        length = self._receives.length(packet[:HEADER_BYTES])
        content = packet[HEADER_BYTES:]
        if length and not content and descriptors:
            with os.fdopen(descriptors.pop(0), "rb") as file:
                file.seek(0)  # the position is shared with the sender
                content = file.read(length + 1)
        if len(content) != length:
            raise self._receives.error(msg("it has {content} of {length} bytes", content=len(content), length=length))
        used: list[int] = []

        def decode(kind: type, value: Any) -> object:  # noqa: ANN401
            if kind is not Descriptor:
                return decode_value(kind, value)
            if value != len(used) or value >= len(descriptors):
                raise ValueError(f"The message has {len(descriptors)} descriptors, and not number {value}")
            used.append(descriptors[value])
            return Descriptor(descriptors[value])

        message = self._receives.decode(content, decode)
        if len(used) != len(descriptors):
            raise self._receives.error(
                msg(
                    "it has {descriptors} descriptors, and names {used}",
                    descriptors=len(descriptors),
                    used=len(used),
                )
            )
        return message

    def close(self) -> None:
        """Close this end."""
        self._end.close()


@contextlib.contextmanager
def _closed_on_error(descriptors: list[int]) -> Iterator[None]:
    """Close the descriptors that are still in the list if the message with them is not returned."""
    try:
        yield
    except BaseException:
        for each in descriptors:
            os.close(each)
        raise
