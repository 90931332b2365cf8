"""JSON messages of any length between the server's processes."""

import array
import contextlib
import errno
import json
import os
import select
import socket
from typing import Any

_PACKET_BYTES = 64 * 1024
"""Size limit of a packet, well below what Linux lets a socket send at once (net.core.wmem_default)."""

_MESSAGE_IN_FILE = b"\0"
"""Packet that replaces a longer message, which is in the file whose descriptor it carries. No JSON starts like it."""

_DESCRIPTOR = "descriptor"
"""The key of a file descriptor in a message."""

Message = dict[str, Any]


class MessageLost(OSError):
    """A message arrived without its descriptor, since this process has too many files open. Its content is lost."""


class Channel:
    """One end of a pair of sockets. Messages arrive whole, even if several processes send from one end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Both ends of a new channel."""
        # Unlike a pipe or a stream, SEQPACKET preserves message boundaries.
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(first), cls(second)

    @classmethod
    def inherited(cls, descriptor: int) -> "Channel":
        """The end that was inherited from the parent process as this descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._end.fileno()

    def send(self, message: Message, descriptor: int | None = None, *, wait: bool = True) -> None:
        """Send a message. Does nothing if the other end is closed: its death is detected elsewhere.

        The receiver gets a duplicate of `descriptor` as the message's `descriptor`, and has to close it. Raises OSError
        if a message with a descriptor exceeds one packet, if the system passes no more descriptors, and without
        `wait` if the other end's queue is full.
        """
        flags = 0 if wait else socket.MSG_DONTWAIT
        data = json.dumps(message if descriptor is None else {**message, _DESCRIPTOR: True}).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if descriptor is not None:
                if len(data) > _PACKET_BYTES:
                    raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
                self._send_with(data, descriptor, flags)
                return
            if len(data) <= _PACKET_BYTES:
                self._end.send(data, flags)
                return
            # The kernel rejects or truncates a longer packet, and several would interleave with those of another
            # process. A memfd exists as long as one of the two processes has it open.
            with os.fdopen(os.memfd_create("message"), "w+b") as file:
                file.write(data)
                file.flush()
                self._send_with(_MESSAGE_IN_FILE, file.fileno(), flags)

    def try_send(self, message: Message) -> None:
        """Send a short message; drop it if the other end's queue is full or the system is out of memory."""
        with contextlib.suppress(OSError):
            self.send(message, wait=False)

    def _send_with(self, data: bytes, descriptor: int, flags: int) -> None:
        # socket.send_fds of Python 3.11 takes flags and ignores them.
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
        self._end.sendmsg([data], [rights], flags)

    @property
    def has_message(self) -> bool:
        """Whether `receive` would not block."""
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(0))

    def receive(self) -> Message | None:
        """The next message, or None when no process is left that could send one. Raises MessageLost."""
        try:
            data, files, *_ = socket.recv_fds(self._end, _PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        if data == _MESSAGE_IN_FILE:
            if not files:
                raise MessageLost(errno.EMFILE, os.strerror(errno.EMFILE))
            with os.fdopen(files.pop(), "rb") as file:
                file.seek(0)  # the position is shared with the sender
                data = file.read()
        if not data:
            return None
        message: Message = json.loads(data)
        if _DESCRIPTOR not in message:
            return message
        if not files:
            raise MessageLost(errno.EMFILE, os.strerror(errno.EMFILE))
        return {**message, _DESCRIPTOR: files[0]}

    def close(self) -> None:
        """Close this end."""
        self._end.close()
